-- Write the ring back to a store that lost it or went back to an older one [L5]. KEYS[8]: the ring, as in ring.lua.
-- ARGV: revision, id and text of the entry, then kid, state, since and rest of each row. 1: it was written; 0: the store's is as new.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if not record then return 0 end
local RING = KEYS[8]
if tonumber(redis.call('HGET', RING, 'revision') or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', RING)
for at = 4, #ARGV, 4 do
  redis.call('HSET', RING, ARGV[at], table.concat({ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]}, ' '))
end
local sequence = record.head
-- While the workers write back nobody is live, and each reads the ring before it is.
if record.phase ~= 'merge' then sequence = append(record, ARGV[2], 'ring', NONE, 0, 0, NONE, '', NONE, ARGV[3]) end
redis.call('HSET', RING, 'revision', ARGV[1], 'change', ARGV[2], 'sequence', whole(sequence))
return 1
