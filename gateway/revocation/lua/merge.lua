-- Write back what a worker holds [L5]: a join, so all may do it, in any order and again. ARGV: incarnation, epoch its facts are of, epoch to merge
-- into, text of the entries, "last" with the last ones, complete_since that it can vouch for ('' : none), "fresh" when it missed nothing until
-- the log was lost, staleness_ms, label, the run of the server that it looked at, and facts, one behind the other: revocation id 16, key 16, kind 1,
-- value 8, expires 8. On another run what it merged before may be missing: there it begins anew, and its last facts do not stand for all.
-- The revocation id follows from the epoch, the key and the value: what two workers write is one revocation, and a lift of it stays one.
-- While nobody is live nobody has read anything, so entries are spared; later each fact that is new becomes one.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local incarnation, origin, target, text = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local record = read_record()
if not record or record.epoch ~= target or run_id() ~= ARGV[10] then return {'gone'} end
local is_merging = record.phase == 'merge'
local KIND_NAMES = {'token', 'session', 'user', 'version', 'block', 'key', 'lift', 'ring', 'touch'}
local MINUTE = 60 -- a worker knows an expiry only to the minute after it

-- All that is read is read at once, and so is what is written: a call for each would take five times as long.
local raw, at = ARGV[11], 1
local facts, keys, ids = {}, {}, {}
while at <= #raw do
  local fact = {text = text, target = NONE}
  fact.revocation, fact.key, fact.number, fact.value, fact.expires, at = struct.unpack('>c16c16BI8I8', raw, at)
  fact.kind = KIND_NAMES[fact.number] or 'token'
  facts[#facts + 1], keys[#keys + 1], ids[#ids + 1] = fact, fact.key, fact.revocation
end
local states, known = {}, {}
if #facts > 0 then
  for number, row in ipairs(redis.call('HMGET', STATES, unpack(keys))) do states[keys[number]] = unpack_state(row) end
  for number, row in ipairs(redis.call('HMGET', REVOCATIONS, unpack(ids))) do known[ids[number]] = row end
end

local function is_said(fact, state)
  if state.value >= fact.value and state.expires + MINUTE > fact.expires then return true end
  local row = known[fact.revocation] -- merged before, and perhaps lifted since
  return row and (cmsgpack.unpack(row)[5] > 0 or state.expires + MINUTE > fact.expires)
end

local added, written, rows, changed = 0, {}, {}, {}
for _, fact in ipairs(facts) do
  local state = states[fact.key]
  if not is_said(fact, state) then
    added = added + 1
    if is_merging then
      if not known[fact.revocation] then
        local row = cmsgpack.pack({fact.key, fact.kind, fact.value, fact.expires, 0, state.newest, record.head, text, {}})
        known[fact.revocation], state.newest = row, fact.revocation
        rows[#rows + 1], rows[#rows + 2] = fact.revocation, row
      end
      state.value, state.expires = math.max(state.value, fact.value), math.max(state.expires, fact.expires)
      state.sequence, state.kind = record.head, fact.number
      if not changed[fact.key] then written[#written + 1] = fact.key end
      changed[fact.key] = true
    else
      local id = fact.revocation
      fact.entry = string.sub(redis.sha1hex(id .. whole(record.head)), 1, 16)
      if known[id] then fact.revocation = string.sub(redis.sha1hex(id .. whole(fact.expires)), 1, 16) end
      fact.target = state.target
      revoke_fact(record, fact)
      states[fact.key], known[id] = read_state(fact.key), redis.call('HGET', REVOCATIONS, id)
    end
  end
end
if #written > 0 then
  local packed, scores = {}, {}
  for number, key in ipairs(written) do
    packed[2 * number - 1], packed[2 * number] = key, pack_state(states[key])
    scores[2 * number - 1], scores[2 * number] = whole(states[key].expires), key
  end
  redis.call('HSET', STATES, unpack(packed))
  redis.call('ZADD', FACTS, unpack(scores))
end
if #rows > 0 then redis.call('HSET', REVOCATIONS, unpack(rows)) end
if is_merging then
  local longest, progress, running = string.match(record.waiting, '^(%d+) (%d+) (%S*)')
  redis.call('HSET', RECORD, 'waiting', longest .. ' ' .. whole(tonumber(progress) + 1) .. ' ' .. running)
end

if is_merging and ARGV[5] == 'last' then
  write_line(incarnation, {state = 'merged', epoch = target, position = '0', staleness = tonumber(ARGV[8]), rest = '0 ' .. whole((server_time())) .. ' ' .. ARGV[9]})
  redis.call('HINCRBY', RECORD, 'register', 1)
  if ARGV[6] ~= '' and compare_epochs(origin, record.recovers) >= 0 then
    if origin ~= record.recovers then -- who was first came from an older epoch, and knew less
      redis.call('HSET', RECORD, 'recovers', origin)
      redis.call('HDEL', RECORD, 'claim', 'fresh')
    end
    local claimed = tonumber(redis.call('HGET', RECORD, 'claim') or '0')
    redis.call('HSET', RECORD, 'claim', whole(math.max(claimed, tonumber(ARGV[6]))))
    if ARGV[7] == 'fresh' then redis.call('HSET', RECORD, 'fresh', '1') end
  end
end
return {'merged', added}
