-- One page of the facts: ARGV: cursor, how many. The epoch, the run and the time of the server come with every page, because a cursor
-- means nothing to another run of the server, and going on with it would skip facts in silence.
local record = read_record()
local page = redis.call('HSCAN', STATES, ARGV[1], 'COUNT', ARGV[2])
local now = server_time()
return {run_id(), record and record.epoch or '', page[1], table.concat(page[2]), now}
