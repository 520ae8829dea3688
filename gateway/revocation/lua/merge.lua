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
local facts, at, added = ARGV[11], 1, 0
while at <= #facts do
  local fact = {entry = '', text = text, target = NONE}
  fact.revocation, fact.key, fact.number, fact.value, fact.expires, at = struct.unpack('>c16c16BI8I8', facts, at)
  fact.kind = KIND_NAMES[fact.number] or 'token'
  local state = read_state(fact.key)
  local is_said = state.value >= fact.value and state.expires + MINUTE > fact.expires
  local known = not is_said and redis.call('HGET', REVOCATIONS, fact.revocation)
  if known and (cmsgpack.unpack(known)[5] > 0 or state.expires + MINUTE > fact.expires) then is_said = true end -- merged before, and perhaps lifted since
  if not is_said then
    added = added + 1
    if is_merging then
      if not known then
        redis.call('HSET', REVOCATIONS, fact.revocation,
          cmsgpack.pack({fact.key, fact.kind, fact.value, fact.expires, 0, state.newest, record.head, text, {}}))
        state.newest = fact.revocation
      end
      state.value, state.expires = math.max(state.value, fact.value), math.max(state.expires, fact.expires)
      state.sequence, state.kind = record.head, fact.number
      write_state(fact.key, state)
    else
      fact.entry = string.sub(redis.sha1hex(fact.revocation .. whole(record.head)), 1, 16)
      if known then fact.revocation = string.sub(redis.sha1hex(fact.revocation .. whole(fact.expires)), 1, 16) end
      fact.target = state.target
      revoke_fact(record, fact)
    end
  end
end
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
