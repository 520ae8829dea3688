-- Who is registered, for status and for removal of the silent.
local record = read_record()
if not record then return {'', '0', {}} end
return {record.epoch, whole(record.head), redis.call('HGETALL', WORKERS)}
