-- Whose turn it is to tell a receiver of events, and how far it was told. KEYS: lease, place. ARGV: what, who, milliseconds of the
-- lease, seconds the place is kept; then
-- claim:  a name for the receiver, should it have none. {name, cursor, ids of the named, ids of strangers} when the turn is his, else {}
-- keep:   cursor, ids, ids. The place is written and the lease extended; with 0 milliseconds it is given back. 1, or 0: it was not his
local LEASE, PLACE = KEYS[1], KEYS[2]
local holder = redis.call('GET', LEASE)

if ARGV[1] == 'claim' then
  if holder and holder ~= ARGV[2] then return {} end
  redis.call('SET', LEASE, ARGV[2], 'PX', ARGV[3])
  redis.call('HSETNX', PLACE, 'name', ARGV[5])
  redis.call('EXPIRE', PLACE, ARGV[4])
  return redis.call('HMGET', PLACE, 'name', 'cursor', 'named', 'strangers')
end

if holder ~= ARGV[2] then return 0 end
redis.call('HSET', PLACE, 'cursor', ARGV[5], 'named', ARGV[6], 'strangers', ARGV[7])
redis.call('EXPIRE', PLACE, ARGV[4])
if ARGV[3] == '0' then
  redis.call('DEL', LEASE)
else
  redis.call('SET', LEASE, ARGV[2], 'PX', ARGV[3])
end
return 1
