-- Take, extend or give back the lease of whoever rotates keys on schedule. ARGV: who, milliseconds (0: give it back). 1: it is his.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
