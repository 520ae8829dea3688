-- Lift everything that says one fact: a block that an operator takes back does not care how often it was set. ARGV: entry id, fact key.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if not record then return {'undeclared'} end
if record.phase == 'merge' then return {'merging'} end
local key = ARGV[2]
local state = read_state(key)
if state.value == 0 then return {'unknown'} end
local newest = cmsgpack.unpack(redis.call('HGET', REVOCATIONS, state.newest))
local sequence = append(record, ARGV[1], 'lift', key, 0, state.expires, state.newest, newest[2], state.target, newest[8])
local id, steps = state.newest, 0
while id ~= NONE and steps < 10000 do
  local raw = redis.call('HGET', REVOCATIONS, id)
  if not raw then break end
  local revocation = cmsgpack.unpack(raw)
  revocation[5] = sequence
  redis.call('HSET', REVOCATIONS, id, cmsgpack.pack(revocation))
  id = revocation[6]
  steps = steps + 1
end
state.value, state.sequence, state.lifted = 0, sequence, sequence
write_state(key, state)
return to_wait_for(record, sequence)
