-- Lift one revocation, and what was revoked with it. Each entry carries what the other revocations of the same key still say, so undoing the
-- second of two leaves the first in force; it wins over what it lifts by its sequence, and the fact's row stays until its expiry [L4, L7].
-- ARGV: entry id, id of the revocation to lift. The entry repeats the text of what it lifts.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if not record then return {'undeclared'} end
if record.phase == 'merge' then return {'merging'} end
local first = redis.call('HGET', REVOCATIONS, ARGV[2])
if not first then return {'unknown'} end
local ids = cmsgpack.unpack(first)[9] or {}
table.insert(ids, 1, ARGV[2])

-- What is left of a key when one revocation of it is lifted. Nil: its history is too long to tell.
local function remains_without(id, state)
  local remains, at, steps = 0, state.newest, 0
  while at ~= NONE do
    steps = steps + 1
    if steps > 10000 then return nil end
    local raw = redis.call('HGET', REVOCATIONS, at)
    if not raw then return state.value end -- a history with a gap lifts nothing: what it said is unknown
    local other = cmsgpack.unpack(raw)
    if at ~= id and other[5] == 0 then remains = math.max(remains, other[3]) end
    at = other[6]
  end
  return remains
end

local lifts, sequence = {}, 0
for _, id in ipairs(ids) do
  local raw = redis.call('HGET', REVOCATIONS, id)
  if raw then
    local lifted = cmsgpack.unpack(raw)
    local state = read_state(lifted[1])
    local remains = remains_without(id, state)
    if not remains then return {'too-many'} end
    if lifted[5] > 0 then
      sequence = math.max(sequence, lifted[5])
    else
      lifts[#lifts + 1] = {id = id, lifted = lifted, state = state, remains = remains}
    end
  end
end
for number, lift in ipairs(lifts) do
  local lifted, state = lift.lifted, lift.state
  local entry = number == 1 and ARGV[1] or ARGV[1] .. '.' .. number
  sequence = append(record, entry, 'lift', lifted[1], lift.remains, state.expires, lift.id, lifted[2], state.target, lifted[8])
  lifted[5] = sequence
  redis.call('HSET', REVOCATIONS, lift.id, cmsgpack.pack(lifted))
  state.value, state.sequence, state.lifted = lift.remains, sequence, sequence
  write_state(lifted[1], state)
end
return to_wait_for(record, sequence)
