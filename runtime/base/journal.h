// Operational messages with fields, for a service whose stderr is the journal: `journalctl
// CARREL_JOB=x` finds what concerns a job. The native protocol is one datagram of NAME=value lines;
// libsystemd, which speaks it too, has no static library in Debian.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace carrel {

/// Name ([A-Z_]) and value (any bytes) of each field.
using JournalFields = std::vector<std::pair<std::string, std::string>>;

/// True when stderr is the stream that systemd named in JOURNAL_STREAM (device:inode): then plain
/// text would reach the journal too, without fields.
bool StderrIsJournal();

/// Sends one entry, with SYSLOG_IDENTIFIER=carrel and the fields of SetJournalContext. `priority`
/// as syslog has it: 3 error, 6 information. False when there is no journal; the caller then
/// prints.
bool SendToJournal(int priority, const std::string& message, const JournalFields& fields);

/// Fields of all entries from now on: the job that this process is about.
void SetJournalContext(JournalFields fields);

}  // namespace carrel
