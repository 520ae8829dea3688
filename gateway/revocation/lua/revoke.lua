-- Record facts, append their entries, say who must enforce them. Repeating it under the same revocation id changes nothing.
-- ARGV: largest skew, "renew" to extend a session's denial and nothing else, then ten for each fact: entry id, revocation id, kind,
--       kind's number, fact key, value (0: now), expires (0: now + lifetime), lifetime, not-before to fold into, text.
-- The first one's revocation id stands for all of them: undoing it lifts them all.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if not record then return {'undeclared'} end
local WIDTH = 10
local last = ARGV[#ARGV - WIDTH + 2]
local known = redis.call('HGET', REVOCATIONS, last)
if known then return to_wait_for(record, cmsgpack.unpack(known)[7]) end

local now = server_time()
local facts, others = {}, {}
for at = 3, #ARGV, WIDTH do
  local fact = {entry = ARGV[at], revocation = ARGV[at + 1], kind = ARGV[at + 2], number = tonumber(ARGV[at + 3]), key = ARGV[at + 4],
                value = tonumber(ARGV[at + 5]), expires = tonumber(ARGV[at + 6]), target = ARGV[at + 8], text = ARGV[at + 9]}
  local lifetime = tonumber(ARGV[at + 7])
  if fact.value == 0 then fact.value = now end
  if fact.expires == 0 then fact.expires = now + lifetime end
  if fact.kind == 'user' and fact.value > now + tonumber(ARGV[1]) then return {'poison'} end -- L7
  if ARGV[2] == 'renew' then
    local state = read_state(fact.key)
    if state.value == 0 or state.expires - now > lifetime / 2 then return {'current'} end
    fact.value = state.value
  end
  facts[#facts + 1] = fact
  if #facts > 1 then others[#others + 1] = fact.revocation end
end

facts[1].with = others
local sequence
for _, fact in ipairs(facts) do sequence = revoke_fact(record, fact) end
return to_wait_for(record, sequence)
