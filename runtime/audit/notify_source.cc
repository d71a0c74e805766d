#include "audit/notify_source.h"

#include <asm/unistd_64.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <unordered_map>

#include "audit/audit_log.h"
#include "audit/call_specs.h"
#include "audit/raw_event.h"
#include "base/clock.h"
#include "base/fs.h"

// Linux 6.6; not in Debian 12's headers. The answer wakes the task on this processor: 5 us a call
// instead of 38.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1ul << 0)
#endif

namespace carrel {
namespace {

constexpr size_t kMaxCalls = 2048;  // a drain, so that the supervisor sees to its other work
constexpr int64_t kTaskAgeNs = 1'000'000'000;
constexpr size_t kMaxArgs = 256;

struct CallSpec {
  uint8_t strings = 0, address = 0, bytes = 0, size = 0;
};

constexpr auto MakeSpecs() {
  std::array<CallSpec, 512> specs{};
#define SPEC(name, strings_, address_, opens_, bytes_, size_) \
  specs[__NR_##name] = {strings_, address_, bytes_, size_};
  CARREL_CALL_SPECS(SPEC)
#undef SPEC
  return specs;
}
constexpr auto kSpecs = MakeSpecs();

// What can be read of another task's memory, up to `size` bytes: to the end of the last page that
// is there.
size_t ReadMemory(pid_t pid, uint64_t address, char* to, size_t size) {
  constexpr uint64_t kPage = 4096;
  iovec local{to, size};
  std::array<iovec, 4> remote{};
  size_t parts = 0;
  for (size_t done = 0; done < size && parts < remote.size(); ++parts) {
    const size_t room = std::min<size_t>(size - done, kPage - (address + done) % kPage);
    remote[parts] = {reinterpret_cast<void*>(address + done), room};
    done += room;
  }
  const ssize_t n = ::process_vm_readv(pid, &local, 1, remote.data(), parts, 0);
  return n < 0 ? 0 : static_cast<size_t>(n);
}

class NotifySource final : public EntrySource {
 public:
  static Result<std::unique_ptr<EntrySource>> Make();

  std::string name() const override { return "seccomp-notify"; }
  bool entry_only() const override { return true; }
  int poll_fd() const override { return epoll_.get(); }
  Result<void> Listen(UniqueFd listener) override;
  Result<void> Drain(AuditLog& log) override;
  Result<EventCounts> Finish(AuditLog& log) override;

 private:
  struct Task {
    int64_t read_ns = 0;
    uint32_t tgid = 0;
  };

  Result<bool> Serve(AuditLog& log);
  Result<void> Record(AuditLog& log, const seccomp_notif& call);
  Result<void> Know(AuditLog& log, pid_t tid, int64_t now);
  Result<void> AddPointed(AuditLog& log, const seccomp_notif& call);
  Result<void> AddArguments(AuditLog& log, const seccomp_notif& call);
  Result<void> AddData(AuditLog& log, uint32_t tid, uint8_t arg, RawDataKind kind,
                       std::string_view bytes, uint8_t flags);
  void Close();

  UniqueFd epoll_;
  UniqueFd listener_;
  bool armed_ = false;
  std::unordered_map<pid_t, Task> tasks_;
  EventCounts counts_;
};

Result<std::unique_ptr<EntrySource>> NotifySource::Make() {
  auto source = std::make_unique<NotifySource>();
  source->counts_.entry_only = true;
  source->epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!source->epoll_) return SysFault("audit", "epoll_create1");
  return std::unique_ptr<EntrySource>(std::move(source));
}

Result<void> NotifySource::Listen(UniqueFd listener) {
  listener_ = std::move(listener);
  // An older kernel has no such flag: slower, not otherwise.
  (void)::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  epoll_event event{};
  event.events = EPOLLIN;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event) != 0)
    return SysFault("audit", "epoll_ctl");
  return {};
}

void NotifySource::Close() {
  if (listener_) (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
  listener_.reset();
}

// One call: recorded, and only then let go on. False when none waits.
Result<bool> NotifySource::Serve(AuditLog& log) {
  pollfd entry{listener_.get(), POLLIN, 0};
  if (::poll(&entry, 1, 0) <= 0) return false;
  if ((entry.revents & POLLIN) == 0) {  // the last task has gone
    Close();
    return false;
  }
  seccomp_notif call{};
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
    if (errno == ENOENT || errno == EINTR) return true;  // it was killed meanwhile
    return SysFault("audit", "receive a seccomp notification");
  }
  CARREL_TRY(Record(log, call));
  seccomp_notif_resp answer{};
  answer.id = call.id;
  answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer) != 0 && errno != ENOENT)
    return SysFault("audit", "answer a seccomp notification");
  return true;
}

Result<void> NotifySource::Drain(AuditLog& log) {
  bool more = bool(listener_);
  for (size_t calls = 0; more && calls < kMaxCalls; ++calls) {
    CARREL_ASSIGN(more, Serve(log));
  }
  return log.AppendEvents(nullptr, 0);
}

Result<EventCounts> NotifySource::Finish(AuditLog& log) {
  for (bool more = bool(listener_); more;) {
    CARREL_ASSIGN(more, Serve(log));
  }
  Close();
  EndRecording(log, counts_);
  return counts_;
}

Result<void> NotifySource::Record(AuditLog& log, const seccomp_notif& call) {
  const auto nr = static_cast<uint32_t>(call.data.nr);
  const bool compat = call.data.arch != AUDIT_ARCH_X86_64;
  armed_ = armed_ || nr == __NR_execve || nr == __NR_execveat;
  if (!armed_) return {};  // the launcher's own last steps
  const int64_t now = MonotonicNs();
  const auto tid = static_cast<pid_t>(call.pid);
  CARREL_TRY(Know(log, tid, now));
  if (!compat) CARREL_TRY(AddPointed(log, call));
  if (!compat && (nr == __NR_execve || nr == __NR_execveat)) CARREL_TRY(AddArguments(log, call));
  RawCall raw{};
  raw.head = {
      sizeof raw, kRawCall, static_cast<uint8_t>(kCallEntryOnly | (compat ? kCallCompat : 0)),
      1,          call.pid, nr};
  raw.enter_ns = raw.exit_ns = static_cast<uint64_t>(now);
  for (size_t i = 0; i < 6; ++i) raw.args[i] = call.data.args[i];
  ++counts_.events;
  CARREL_TRY(log.AppendEvents(&raw, sizeof raw));
  if (nr == __NR_exit) tasks_.erase(tid);
  if (nr == __NR_exit_group) {
    const uint32_t tgid = tasks_[tid].tgid;
    std::erase_if(tasks_, [tgid](const auto& task) { return task.second.tgid == tgid; });
  }
  return {};
}

// Who a task is. Nothing tells of its beginning or end, so it is asked again after a second, in
// case that its number has gone to another.
Result<void> NotifySource::Know(AuditLog& log, pid_t tid, int64_t now) {
  Task& task = tasks_[tid];
  if (task.read_ns != 0 && now - task.read_ns < kTaskAgeNs) return {};
  const bool known = task.read_ns != 0;
  task.read_ns = now;
  auto status = ReadFile("/proc/" + std::to_string(tid) + "/status", 1u << 16);
  if (!status) return {};  // it has been killed; the call stands with its number alone
  RawTask raw{};
  raw.head = {sizeof raw, kRawTask, kTaskFound, 1, static_cast<uint32_t>(tid), 0};
  raw.time_ns = static_cast<uint64_t>(now);
  auto last = [&](const char* key) {
    const size_t at = status->find(key);
    if (at == std::string::npos) return 0u;
    const std::string line = status->substr(at, status->find('\n', at) - at);
    return static_cast<uint32_t>(
        std::strtoul(line.c_str() + line.find_last_of(" \t") + 1, nullptr, 10));
  };
  raw.tgid = last("\nTgid:");
  raw.inner_tid = last("\nNSpid:");
  raw.inner_tgid = last("\nNStgid:");
  raw.parent = last("\nPPid:");
  const std::string name = status->substr(6, status->find('\n') - 6);  // "Name:\t..."
  std::memcpy(raw.comm, name.data(), std::min(name.size(), sizeof raw.comm - 1));
  const bool same = known && task.tgid == raw.tgid;
  task.tgid = raw.tgid;
  return same ? Result<void>() : log.AppendEvents(&raw, sizeof raw);
}

Result<void> NotifySource::AddData(AuditLog& log, uint32_t tid, uint8_t arg, RawDataKind kind,
                                   std::string_view bytes, uint8_t flags) {
  RawData raw;
  const size_t size = offsetof(RawData, bytes) + bytes.size();
  raw.head = {static_cast<uint16_t>(size),        kRawData, flags, 1, tid,
              static_cast<uint32_t>(bytes.size())};
  raw.arg = arg;
  raw.kind = kind;
  std::memcpy(raw.bytes, bytes.data(), bytes.size());
  return log.AppendEvents(&raw, size);
}

Result<void> NotifySource::AddPointed(AuditLog& log, const seccomp_notif& call) {
  if (call.data.nr < 0 || static_cast<size_t>(call.data.nr) >= kSpecs.size()) return {};
  const CallSpec& spec = kSpecs[static_cast<size_t>(call.data.nr)];
  const auto pid = static_cast<pid_t>(call.pid);
  char buffer[CARREL_MAX_DATA];
  for (uint8_t arg = 0; arg < 5; ++arg) {
    const uint64_t address = call.data.args[arg];
    if ((spec.strings >> arg & 1) == 0 || address == 0) continue;
    const size_t got = ReadMemory(pid, address, buffer, sizeof buffer - 1);
    const size_t length = ::strnlen(buffer, got);
    const uint8_t flags = got == 0 ? kDataFault : length == got ? kDataTruncated : 0;
    CARREL_TRY(AddData(log, call.pid, arg, kDataString, {buffer, length}, flags));
  }
  auto add = [&](uint8_t arg, RawDataKind kind, uint64_t address, uint64_t wanted) -> Result<void> {
    if (address == 0 || wanted == 0) return {};
    const size_t size = std::min<uint64_t>(wanted, 128);
    const bool whole = ReadMemory(pid, address, buffer, size) == size;
    const uint8_t flags = !whole ? kDataFault : size < wanted ? kDataTruncated : 0;
    return AddData(log, call.pid, arg, kind, {buffer, whole ? size : 0}, flags);
  };
  const auto& args = call.data.args;
  const auto address_arg = static_cast<uint8_t>((spec.address & 7) - 1);
  if ((spec.address & kAddressInMessage) != 0) {
    uint64_t message[2] = {};
    if (ReadMemory(pid, args[address_arg], reinterpret_cast<char*>(message), 12) == 12)
      CARREL_TRY(add(address_arg, kDataSockaddr, message[0], static_cast<uint32_t>(message[1])));
  } else if (spec.address != 0 && (spec.address & kAddressAtExit) == 0) {
    CARREL_TRY(add(address_arg, kDataSockaddr, args[address_arg],
                   static_cast<uint32_t>(args[address_arg + 1])));
  }
  if (spec.bytes == 0) return {};
  const auto arg = static_cast<uint8_t>(spec.bytes - 1);
  return add(arg, kDataBytes, args[arg],
             spec.size != 0 ? spec.size : static_cast<uint32_t>(args[arg + 1]));
}

// The arguments that an exec asks for, each with its NUL.
Result<void> NotifySource::AddArguments(AuditLog& log, const seccomp_notif& call) {
  const auto pid = static_cast<pid_t>(call.pid);
  const uint8_t arg = call.data.nr == __NR_execve ? 1 : 2;
  uint64_t pointers[kMaxArgs] = {};
  const size_t count =
      ReadMemory(pid, call.data.args[arg], reinterpret_cast<char*>(pointers), sizeof pointers) / 8;
  std::string all;
  char buffer[CARREL_MAX_DATA];
  uint8_t flags = 0;
  for (size_t i = 0; i < count && pointers[i] != 0; ++i) {
    const size_t room = CARREL_MAX_DATA - 1 - all.size();
    const size_t got = ReadMemory(pid, pointers[i], buffer, room);
    const size_t length = ::strnlen(buffer, got);
    if (length == got) flags |= kDataTruncated;
    all.append(buffer, length);
    if (length == got) break;
    all += '\0';
  }
  return AddData(log, call.pid, arg, kDataArgv, all, flags);
}

}  // namespace

Result<std::unique_ptr<EntrySource>> MakeEntrySource() { return NotifySource::Make(); }

}  // namespace carrel
