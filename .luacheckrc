-- Lua as Redis 7 and Valkey run it: 5.1, with these globals and no others.
std = "lua51"
read_globals = { "redis", "KEYS", "ARGV", "cjson", "cmsgpack", "bit", "struct" }
max_line_length = 120
exclude_files = { ".venv" }

-- What `-- include NAME.lua` brings into a script of the log: of epoch.lua, head.lua, repeats.lua,
-- stream_page.lua, snapshot.lua, notes.lua.
files["eventstore/scripts"] = {
  read_globals = {
    "microseconds", "current_epoch", "parse_epochs", "newest_epoch", "epoch_at", "format_epochs",
    "is_replica", "must_be_numbers", "look_at_stream", "add_events", "is_in_log", "repeats", "try",
    "bucket_to_note_in",
  },
  globals = { "missing" },
}

-- The same for the scripts of groups: of lease.lua (which brings epoch.lua), rows.lua, effects.lua,
-- appending.lua, timers.lua.
files["consumers/scripts"] = {
  read_globals = {
    "microseconds", "is_replica", "current_epoch", "parse_epochs", "newest_epoch", "epoch_at", "format_epochs",
    "must_be_numbers", "look_at_lease", "what_is_no_number", "replid_of", "why_stale", "is_free", "written_first", "place_of",
    "is_place", "text", "ring",
    "in_chunks", "parse_row", "write_rows", "mirror_rows", "check_effects", "run_effects",
    "read_head", "begin_append", "is_urgent", "append_event", "end_append", "bucket_to_note_in",
    "parse_timer", "due_timers", "due_page", "make_timers",
    "try", "missing",
  },
}
