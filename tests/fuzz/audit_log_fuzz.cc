// A file that says it is an audit log: all of it, then as a query reads it; and all that is
// printed.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "audit/block_filter.h"
#include "audit/log_reader.h"
#include "audit/render.h"

namespace {

// In every form that a command has.
void Print(const carrel::AuditEvent& event, const carrel::LogReader& log) {
  std::string out;
  AppendEventJson(event, log, out);
  AppendTraceJson(event, log, out);
  AppendTraceName(event, out);
  (void)EventCsv(event, log);
  (void)EventLine(event, log, 80);
}

void ReadAll(const std::string& path, bool by_header) {
  using namespace carrel;
  auto log = LogReader::Open(path);
  if (!log) return;
  AuditEvent event;
  for (;;) {
    auto more = by_header ? log->NextBlockIf([](const BlockHeader& header) {
      return FilterMayHavePath(header.filter, "/usr/lib/x") &&
             FilterMayHaveTask(header.filter, header.calls);
    })
                          : log->NextBlock();
    if (!more || !*more) break;
    for (;;) {
      auto row = log->NextEvent(event);
      if (!row || !*row) break;
      if (!by_header) Print(event, *log);
    }
  }
  if (log->end() != LogEnd::kOpen) (void)log->Standing();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int fd = ::memfd_create("log", MFD_CLOEXEC);
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) abort();
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  ReadAll(path, false);
  ReadAll(path, true);
  return 0;
}
