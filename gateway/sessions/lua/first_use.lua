-- The first use of another issuer's session: what is on record, or else this one from now on [S3].
-- KEYS: the user's first uses. ARGV: which session, seconds it is kept, how many per user, what to record ('': only look).
-- A value is "created expires text". What has expired goes; above the bound the oldest goes.
local KEY, WHICH = KEYS[1], ARGV[1]
local now, now_text = server_time()
local kept = redis.pcall('HGET', KEY, WHICH)
if type(kept) == 'table' then
  if not string.find(kept.err, 'WRONGTYPE', 1, true) then return kept end
  redis.call('DEL', KEY)
  kept = false
end
if kept then
  local expires = number(string.match(kept, '^%S+ (%S+) '))
  if expires and expires > now then return kept end
end
if ARGV[4] == '' then return false end

local all = redis.call('HGETALL', KEY)
local ages = {}
for at = 1, #all, 2 do
  local created, expires = string.match(all[at + 1], '^(%S+) (%S+) ')
  created, expires = number(created), number(expires)
  if not created or not expires or expires <= now then
    redis.call('HDEL', KEY, all[at])
  elseif all[at] ~= WHICH then
    ages[#ages + 1] = {created, all[at]}
  end
end
table.sort(ages, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
for at = 1, #ages - tonumber(ARGV[3]) + 1 do redis.call('HDEL', KEY, ages[at][2]) end

local expires = now + tonumber(ARGV[2])
local value = now_text .. ' ' .. instant(expires) .. ' ' .. ARGV[4]
redis.call('HSET', KEY, WHICH, value)
if now + redis.call('TTL', KEY) < expires then redis.call('EXPIREAT', KEY, whole(math.ceil(expires))) end
return value
