-- Use a one-time token, on the run of the server and in the log that the worker knows [T5]. ARGV: run, epoch, position, when the use may be
-- forgotten; the last key is the use's. 1: it is used now, 0: it was used before, -1: what was used before may be missing here.
local record = read_record()
if not record or record.epoch ~= ARGV[2] or record.head < tonumber(ARGV[3]) or run_id() ~= ARGV[1] then return -1 end
return redis.call('SET', KEYS[8], '1', 'NX', 'EXAT', ARGV[4]) and 1 or 0
