#include "base/journal.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "base/unique_fd.h"

namespace carrel {
namespace {

constexpr const char* kSocket = "/run/systemd/journal/socket";
constexpr size_t kMaxValue = 48u << 10;  // a datagram of a Unix socket holds some 200 KiB

JournalFields& Context() {
  static JournalFields context;
  return context;
}

// "NAME=value\n"; a value with a line end goes by length, so that it cannot begin a field.
void Append(std::string& datagram, const std::string& name, std::string value) {
  value.resize(std::min(value.size(), kMaxValue));
  datagram += name;
  if (value.find('\n') == std::string::npos) {
    datagram += "=" + value + "\n";
    return;
  }
  datagram += "\n";
  uint64_t size = value.size();
  for (int i = 0; i < 8; ++i, size >>= 8) datagram += static_cast<char>(size & 0xff);
  datagram += value + "\n";
}

}  // namespace

bool StderrIsJournal() {
  const char* stream = ::getenv("JOURNAL_STREAM");
  struct stat info {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) == stream;
}

void SetJournalContext(JournalFields fields) { Context() = std::move(fields); }

bool SendToJournal(int priority, const std::string& message, const JournalFields& fields) {
  if (!StderrIsJournal()) return false;
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string(kSocket).copy(address.sun_path, sizeof address.sun_path - 1);
  std::string datagram;
  Append(datagram, "PRIORITY", std::to_string(priority));
  Append(datagram, "SYSLOG_IDENTIFIER", "carrel");
  Append(datagram, "MESSAGE", message);
  for (const JournalFields* list : {const_cast<const JournalFields*>(&Context()), &fields})
    for (const auto& [name, value] : *list) Append(datagram, name, value);
  // MSG_DONTWAIT: a journal that hangs does not hold a job.
  return fd && ::sendto(fd.get(), datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                        reinterpret_cast<const sockaddr*>(&address),
                        sizeof address) == static_cast<ssize_t>(datagram.size());
}

}  // namespace carrel
