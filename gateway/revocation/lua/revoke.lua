-- Record the fact, append the entry, say who must enforce it. Repeating it under the same revocation id changes nothing.
-- ARGV: entry id, revocation id, kind, kind's number, fact key, value (0: now), expires (0: now + lifetime), lifetime, largest skew,
--       not-before to fold into, text, "renew" to extend a session's denial and nothing else
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if not record then return {'undeclared'} end
local revocation, key = ARGV[2], ARGV[5]
local known = redis.call('HGET', REVOCATIONS, revocation)
if known then return to_wait_for(record, cmsgpack.unpack(known)[7]) end

local now = server_time()
local value, expires = tonumber(ARGV[6]), tonumber(ARGV[7])
if value == 0 then value = now end
if expires == 0 then expires = now + tonumber(ARGV[8]) end
if ARGV[3] == 'user' and value > now + tonumber(ARGV[9]) then return {'poison'} end -- L7

local state = read_state(key)
if ARGV[12] == 'renew' then
  if state.value == 0 or state.expires - now > tonumber(ARGV[8]) / 2 then return {'current'} end
  value = state.value
end

local sequence = append(record, ARGV[1], ARGV[3], key, value, expires, revocation, '', ARGV[10], ARGV[11])
redis.call('HSET', REVOCATIONS, revocation, cmsgpack.pack({key, ARGV[3], value, expires, 0, state.newest, sequence, ARGV[11]}))
state.value, state.expires = math.max(state.value, value), math.max(state.expires, expires)
state.sequence, state.newest, state.kind, state.target = sequence, revocation, tonumber(ARGV[4]), ARGV[10]
write_state(key, state)
return to_wait_for(record, sequence)
