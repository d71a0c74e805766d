#include "gateway/peer_process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/fs.h"

namespace carrel::gateway {
namespace {

// What one connection may cost: an action with thousands of open files is not searched through.
constexpr int kMaxLooks = 4000;

std::vector<pid_t> Processes(const std::string& path) {
  std::vector<pid_t> pids;
  auto text = ReadFile(path, 1u << 20);
  if (!text) return pids;
  const char* at = text->data();
  const char* const end = at + text->size();
  for (pid_t pid = 0; at < end; ++at) {
    const auto read = std::from_chars(at, end, pid);
    if (read.ec != std::errc()) break;
    pids.push_back(pid);
    at = read.ptr;
  }
  return pids;
}

// `looks` goes down with each descriptor.
bool Holds(pid_t pid, const std::string& socket, int& looks) {
  auto found = OpenPath("/proc/" + std::to_string(pid) + "/fd", O_RDONLY | O_DIRECTORY);
  if (!found) return false;
  DIR* const directory = ::fdopendir(found->get());
  if (directory == nullptr) return false;
  const int fd = found->release();
  bool holds = false;
  char target[64];
  while (const dirent* entry = holds || looks <= 0 ? nullptr : ::readdir(directory)) {
    --looks;
    const ssize_t size = ::readlinkat(fd, entry->d_name, target, sizeof target);
    holds = size > 0 && std::string_view(target, static_cast<size_t>(size)) == socket;
  }
  ::closedir(directory);
  return holds;
}

std::optional<PeerProcess> Describe(pid_t pid) {
  const std::string place = "/proc/" + std::to_string(pid);
  auto comm = ReadFile(place + "/comm", 64);
  auto status = ReadFile(place + "/status", 64u << 10);
  if (!comm || !status) return std::nullopt;
  PeerProcess process{.host_pid = pid, .comm = *comm};
  if (process.comm.ends_with('\n')) process.comm.pop_back();
  // "NSpid:\t<outside>\t...\t<inside>". The name stands before it, and holds no line's end.
  const size_t line = status->find("\nNSpid:");
  if (line == std::string::npos) return std::nullopt;
  const size_t end = std::min(status->find('\n', line + 1), status->size());
  const size_t last = status->rfind('\t', end) + 1;
  std::from_chars(status->data() + last, status->data() + end, process.pid);
  return process;
}

}  // namespace

Result<UniqueFd> MakeDiagSocket() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG));
  if (!fd) return SysFault("gateway", "sock_diag");
  return fd;
}

// 0: there is none, or the kernel has no sock_diag.
uint64_t PeerFinder::InodeOf(uint32_t from_address, uint16_t from, uint16_t to) const {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 wanted;
  } request = {};
  request.header = {
      .nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST};
  request.wanted.sdiag_family = AF_INET;
  request.wanted.sdiag_protocol = IPPROTO_TCP;
  request.wanted.idiag_states = ~0u;
  request.wanted.id.idiag_sport = htons(from);
  request.wanted.id.idiag_dport = htons(to);
  request.wanted.id.idiag_src[0] = htonl(from_address);
  request.wanted.id.idiag_dst[0] = htonl(INADDR_LOOPBACK);
  request.wanted.id.idiag_cookie[0] = request.wanted.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (::send(diag_.get(), &request, sizeof request, 0) < 0) return 0;
  alignas(nlmsghdr) char reply[8192];
  const ssize_t size = ::recv(diag_.get(), reply, sizeof reply, 0);  // it's there already
  const auto* header = reinterpret_cast<const nlmsghdr*>(reply);
  if (size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(inet_diag_msg))) ||
      header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
    return 0;
  return static_cast<const inet_diag_msg*>(NLMSG_DATA(header))->idiag_inode;
}

std::optional<PeerProcess> PeerFinder::Find(uint32_t from_address, uint16_t from, uint16_t to) {
  if (!diag_) return std::nullopt;
  const uint64_t inode = InodeOf(from_address, from, to);
  if (inode == 0) return std::nullopt;
  const std::string socket = "socket:[" + std::to_string(inode) + "]";
  std::vector<pid_t> pids = Processes(processes_);
  // The newest first, and before them the one that was found last.
  std::reverse(pids.begin(), pids.end());
  if (auto last = std::find(pids.begin(), pids.end(), last_); last != pids.end())
    std::rotate(pids.begin(), last, last + 1);
  int looks = kMaxLooks;
  for (const pid_t pid : pids)
    if (looks > 0 && Holds(pid, socket, --looks)) {
      last_ = pid;
      return Describe(pid);
    }
  return std::nullopt;
}

}  // namespace carrel::gateway
