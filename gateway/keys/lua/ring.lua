-- Change the ring of signing keys: compare and set, all or nothing [T4, L8]. Repeating it under the same change id changes nothing.
-- KEYS[8]: the ring, a hash: kid -> "state since algorithm created box" (tokens/seal.py), and revision, change (id of the last
-- change), sequence (of the entry that tells it).
-- ARGV: change id, revision that must be there, id and text of the entry, number of rows; for each row kid, state, since ('' : now), rest ('' : the
-- row is dropped); then ten for each fact about a key that is gone, as in revoke.lua.
-- The facts come before the entry that makes everybody read the ring: nobody signs with a new key before he refuses the old one.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if not record then return {'undeclared'} end
if record.phase == 'merge' then return {'merging'} end
local RING, ROW, FACT = KEYS[8], 4, 10
local kept = redis.call('HMGET', RING, 'revision', 'change', 'sequence')
if kept[2] == ARGV[1] then return to_wait_for(record, tonumber(kept[3])) end
if (kept[1] or '0') ~= ARGV[2] then return {'conflict'} end

local seconds, microseconds = server_time()
local now = whole(seconds) .. string.format('.%06d', microseconds)
local at = 6
for _ = 1, tonumber(ARGV[5]) do
  local kid, state, since, rest = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if rest == '' then
    redis.call('HDEL', RING, kid)
  else
    redis.call('HSET', RING, kid, table.concat({state, since == '' and now or since, rest}, ' '))
  end
  at = at + ROW
end

local facts, others = {}, {}
for first = at, #ARGV, FACT do
  facts[#facts + 1] = {entry = ARGV[first], revocation = ARGV[first + 1], kind = ARGV[first + 2], number = tonumber(ARGV[first + 3]),
                       key = ARGV[first + 4], value = seconds, expires = tonumber(ARGV[first + 6]), target = ARGV[first + 8], text = ARGV[first + 9]}
  if #facts > 1 then others[#others + 1] = ARGV[first + 1] end
end
if facts[1] then facts[1].with = others end
for _, fact in ipairs(facts) do revoke_fact(record, fact) end

local sequence = append(record, ARGV[3], 'ring', NONE, 0, 0, NONE, '', NONE, ARGV[4])
redis.call('HSET', RING, 'revision', whole(tonumber(ARGV[2]) + 1), 'change', ARGV[1], 'sequence', whole(sequence))
return to_wait_for(record, sequence)
