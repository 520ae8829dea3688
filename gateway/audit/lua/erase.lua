-- Cut the link between a name and its pseudonym: the whole trail is pseudonymous at once. Then tell that it was done.
-- ARGV: digest of the name, the event, seconds in which tokens from before may still be seen, seconds an event is kept.
local now = server_time()
local pseudonym = forget(ARGV[1])
redis.call('ZADD', FORGOTTEN, string.format('%.6f', now), ARGV[1])
redis.call('EXPIRE', FORGOTTEN, math.max(redis.call('TTL', FORGOTTEN), tonumber(ARGV[3])))
redis.call('XADD', TRAIL, new_ids(now)(), 'event', ARGV[2], 'user', pseudonym or '')
redis.call('EXPIRE', TRAIL, ARGV[4])
return pseudonym
