-- Drop facts that expired and entries nobody reads any more. ARGV: the caller's time, how many at most, seconds an entry is kept.
-- The earlier of the two clocks counts: a store whose clock jumped ahead frees nothing early [L6]. The head always stays, so a
-- position at the head can be verified; what is dropped is told by the floor [L2].
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if not record then return {0, 0} end
local cutoff = math.min(server_time(), tonumber(ARGV[1]))
local budget = tonumber(ARGV[2])

local dropped = 0
for _, key in ipairs(redis.call('ZRANGEBYSCORE', FACTS, '-inf', '(' .. whole(cutoff), 'LIMIT', 0, budget)) do
  local state = read_state(key)
  local id = state.newest
  while id ~= NONE and budget > 0 do
    local raw = redis.call('HGET', REVOCATIONS, id)
    redis.call('HDEL', REVOCATIONS, id)
    id = raw and cmsgpack.unpack(raw)[6] or NONE
    budget = budget - 1
  end
  if id ~= NONE then -- a long history: the rest next time
    state.newest = id
    write_state(key, state)
    break
  end
  redis.call('HDEL', STATES, key)
  redis.call('ZREM', FACTS, key)
  dropped = dropped + 1
end

local oldest = redis.call('XRANGE', ENTRIES, '-', '+', 'COUNT', ARGV[2])
local floor
for _, entry in ipairs(oldest) do
  local epoch, sequence = string.match(entry[1], '^(%d+)-(%d+)$')
  local fields = entry[2]
  local is_old = tonumber(fields[#fields]) < cutoff - tonumber(ARGV[3])
  if not is_old or (epoch == record.epoch and tonumber(sequence) == record.head) then break end
  floor = tonumber(sequence) + 1
end
local trimmed = 0
if floor then
  local kept = redis.call('XRANGE', ENTRIES, position_of(record, floor), '+', 'COUNT', 1)
  if kept[1] then
    trimmed = redis.call('XTRIM', ENTRIES, 'MINID', kept[1][1])
    local first = tonumber(string.match(kept[1][1], '-(%d+)$'))
    if first > record.floor then redis.call('HSET', RECORD, 'floor', whole(first)) end
  end
end
return {dropped, trimmed}
