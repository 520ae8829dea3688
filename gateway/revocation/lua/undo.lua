-- Lift one revocation. The entry carries what the other revocations of the same key still say, so undoing the second of two leaves
-- the first in force; it wins over what it lifts by its sequence, and the fact's row stays until the fact's expiry [L4, L7].
-- ARGV: entry id, id of the revocation to lift. The entry repeats the text of what it lifts.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if not record then return {'undeclared'} end
local raw = redis.call('HGET', REVOCATIONS, ARGV[2])
if not raw then return {'unknown'} end
local lifted = cmsgpack.unpack(raw)
if lifted[5] > 0 then return to_wait_for(record, lifted[5]) end

local key = lifted[1]
local state = read_state(key)
local remains, id, steps = 0, state.newest, 0
while id ~= NONE do
  steps = steps + 1
  if steps > 10000 then return {'too-many'} end
  local other = redis.call('HGET', REVOCATIONS, id)
  if not other then -- a history with a gap lifts nothing: what it said is unknown
    remains = state.value
    break
  end
  other = cmsgpack.unpack(other)
  if id ~= ARGV[2] and other[5] == 0 then remains = math.max(remains, other[3]) end
  id = other[6]
end

local sequence = append(record, ARGV[1], 'lift', key, remains, state.expires, ARGV[2], lifted[2], state.target, lifted[8])
lifted[5] = sequence
redis.call('HSET', REVOCATIONS, ARGV[2], cmsgpack.pack(lifted))
state.value, state.sequence, state.lifted = remains, sequence, sequence
write_state(key, state)
return to_wait_for(record, sequence)
