-- Append an entry that is no fact but news: a record changed, and every worker drops its copy before it acknowledges. ARGV: entry id, kind, text.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if not record then return {'undeclared'} end
return to_wait_for(record, append(record, ARGV[1], ARGV[2], NONE, 0, 0, NONE, '', NONE, ARGV[3]))
