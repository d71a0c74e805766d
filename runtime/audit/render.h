// Events as text: for people (escaped, names decoded) and for programs (JSON lines, CSV, traces).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "audit/event.h"
#include "audit/log_reader.h"
#include "audit/text.h"

namespace carrel {

/// "call", "record", "task"...
const char* KindName(EventKind kind);

/// "unix:/run/x", "inet:127.0.0.1:5432", "inet6:[::1]:80", "netlink:PID:GROUPS", "vsock:CID:PORT",
/// "alg:TYPE:NAME", "packet:PROTOCOL:INTERFACE", or "family 31". Bytes as they are.
std::string SocketAddress(std::string_view bytes);

/// How a task ended: "exit 3", "signal SIGKILL".
std::string ExitText(uint32_t code);

/// The value of `name` for the result of a call: "ENOENT" for an error, "" for success.
std::string ErrorOf(const AuditEvent& event);

/// Of a kDigest: 64 hexadecimal digits, or why there are none.
std::string DigestText(const AuditEvent& event);

/// True for what ErrorOf can return for some call.
bool IsErrorName(std::string_view name);

/// "openat", "i386:open"...
std::string SyscallOf(const AuditEvent& event);

/// The arguments of an exec, as they were given.
std::vector<std::string> SplitArgv(std::string_view bytes);

/// Appends one object (render_json.cc). All have `job`, `time`, `kind`; all but lifecycle records
/// have `pid`, `tid` (as inside the job), `host_pid`, `host_tid`, `comm`; calls have `syscall`.
/// export.schema.json says the rest.
void AppendEventJson(const AuditEvent& event, const LogReader& log, std::string& out);

/// Appends an object of the trace event format (chrome://tracing, Perfetto).
void AppendTraceJson(const AuditEvent& event, const LogReader& log, std::string& out);
/// And one that gives the event's process its name.
void AppendTraceName(const AuditEvent& event, std::string& out);

/// A row of comma-separated values (RFC 4180), and the head with their names.
const char* EventCsvHead();
std::string EventCsv(const AuditEvent& event, const LogReader& log);

/// "openat(AT_FDCWD, "/x", O_RDONLY) = 3 </x>": a call in the manner of strace.
std::string CallText(const AuditEvent& event);

/// What happened, for every kind: `CallText` or "* executes </bin/x> "x" "-v"".
std::string EventText(const AuditEvent& event);

/// A call without its result: "openat(AT_FDCWD, "/x", O_RDONLY)".
std::string ArgumentsText(const AuditEvent& event);

/// Time, thread, command, result and what happened, in one line of at most `columns` columns (80 or
/// more). The head has the columns' names.
std::string EventLineHead(size_t columns);
std::string EventLine(const AuditEvent& event, const LogReader& log, size_t columns);

}  // namespace carrel
