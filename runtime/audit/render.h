// Events as text: for people (escaped, names decoded) and for programs (JSON lines).
#pragma once

#include <string>
#include <string_view>

#include "audit/event.h"
#include "audit/log_reader.h"
#include "base/json.h"

namespace carrel {

/// `text` with everything escaped that a terminal could act on, or that is not UTF-8: "\x1b".
std::string Printable(std::string_view text);

/// `bytes` as UTF-8: what is not becomes "\xNN".
std::string Utf8(std::string_view bytes);

/// "unix:/run/x", "inet:127.0.0.1:5432", "inet6:[::1]:80", or "family 38".
std::string SocketAddress(std::string_view bytes);

/// How a task ended: "exit 3", "signal SIGKILL".
std::string ExitText(uint32_t code);

/// The value of `name` for the result of a call: "ENOENT" for an error, "" for success.
std::string ErrorOf(const AuditEvent& event);

/// One object. Calls have `syscall`; all have `time`, `kind`, `pid`, `tid` (as inside the job),
/// `host_pid`, `host_tid`, `comm`.
OrderedJson EventJson(const AuditEvent& event, const LogReader& log);

/// A row of comma-separated values (RFC 4180), and the head with their names.
const char* EventCsvHead();
std::string EventCsv(const AuditEvent& event, const LogReader& log);

/// One line in the manner of strace.
std::string EventLine(const AuditEvent& event, const LogReader& log);

}  // namespace carrel
