-- Strike a worker from the register. ARGV: incarnation, renewals it must still have ('' : any), so that one that spoke meanwhile stays.
local old = redis.call('HGET', WORKERS, ARGV[1])
if not old then return 0 end
if ARGV[2] ~= '' and string.match(old, '^%S+ %S+ %d+ %d+ (%d+)') ~= ARGV[2] then return 0 end
redis.call('HDEL', WORKERS, ARGV[1])
if redis.call('EXISTS', RECORD) == 1 then redis.call('HINCRBY', RECORD, 'register', 1) end
redis.call('PUBLISH', ACKS, ARGV[1] .. ' left')
return 1
