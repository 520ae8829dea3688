-- A refresh token is presented: the table of rotation.py by the store's time. The outcome, the time, and the record after it.
-- KEYS: the record. ARGV: sid, generation, version, network, delivery, same device, recognised, may rotate, grace, access ttl, refresh ttl.
local KEY = KEYS[1]
local record, failure = read(KEY, ARGV[1])
if failure then return failure end

local generation, used, version = tonumber(record[GENERATION]), tonumber(record[USED]), tonumber(record[VERSION])
local rotated_at, refresh_expires, ends = tonumber(record[ROTATED_AT]), tonumber(record[REFRESH_EXPIRES]), tonumber(record[ENDS])
local odd_generation = tonumber(record[ODD_GENERATION])
local now, now_text = server_time()
local presented, presented_version, network, delivery = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local is_same_device, is_recognised, may_rotate = ARGV[6] == '1', ARGV[7] == '1', ARGV[8] == '1'
local grace, access_ttl, refresh_ttl = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])

local function told(outcome)
  return {outcome, now_text, record}
end

local function ended()
  if record[ENDED] ~= '1' then change(KEY, record, {[ENDED] = '1'}) end
  return told('reused')
end

local function date_with(changes)
  local times, over_at = dated(now, now_text, ends, access_ttl, refresh_ttl)
  for position, value in pairs(times) do changes[position] = value end
  change(KEY, record, changes)
  redis.call('EXPIREAT', KEY, whole(over_at))
end

if delivery ~= '' and delivery ~= record[DELIVERY] then return told('delivery') end -- R6
if now >= ends or now >= refresh_expires then return told('expired') end
if record[ENDED] == '1' then return ended() end
if presented_version < version then return told('outdated') end -- L8

if presented >= generation then
  if not may_rotate then return told('barred') end
  local is_lost = presented > generation
  date_with({[GENERATION] = whole(presented + 1), [USED] = whole(math.max(used, presented)), [ROTATED_FROM] = network,
             [VERSION] = whole(is_lost and math.max(version, presented_version) or version)})
  return told(is_lost and 'recovered' or 'rotated')
end

if presented < generation - 1 then return ended() end
local is_in_grace = now - rotated_at <= grace
if used >= generation and now - rotated_at <= 2 * grace then
  is_in_grace = is_in_grace or now - tonumber(record[FIRST_USED]) <= grace
end
if not is_in_grace and used >= generation then return ended() end
if not is_same_device then return is_recognised and ended() or told('refused') end
local is_odd = network ~= '' and record[ROTATED_FROM] ~= '' and network ~= record[ROTATED_FROM]
if is_odd and odd_generation == generation - 1 then return ended() end
if not may_rotate then return told('barred') end

local changes = {}
if is_odd and odd_generation ~= generation then changes[ODD_GENERATION] = whole(generation) end
if not is_in_grace then
  date_with(changes)
  return told('late')
end
if now >= math.floor(tonumber(record[ACCESS_EXPIRES])) then -- its life is shorter than the grace
  changes[ACCESS_EXPIRES] = instant(math.min(now + access_ttl, refresh_expires))
end
if next(changes) then change(KEY, record, changes) end
return told('repeated')
