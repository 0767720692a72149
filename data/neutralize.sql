-- A copy must not publish: its events would look like the original's.
UPDATE stock_event_channel
   SET active = false;
