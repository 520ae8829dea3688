-- The record, for a worker that has a token of it. That the token was seen is on record at once [R2]; written once per generation.
-- KEYS: the record. ARGV: sid, the token's generation (0: only look).
local record, failure = read(KEYS[1], ARGV[1])
if failure then return failure end
if record[ENDED] == '1' then return {'absent'} end
local seen = tonumber(ARGV[2])
local _, now_text = server_time()
if seen > tonumber(record[USED]) then change(KEYS[1], record, {[USED] = whole(seen), [FIRST_USED] = now_text, [LAST_SEEN] = now_text}) end
return {'found', now_text, record}
