-- A copy must not publish: its events would look like the original's.
UPDATE stock_event_channel
   SET active = false;
-- Nor may it take commands that the original is waiting for.
UPDATE stock_command_queue
   SET active = false;
