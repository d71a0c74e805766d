#include "launch/id_map.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "base/fs.h"

namespace carrel {
namespace {

// A child that holds a new user namespace until it is killed.
struct Holder {
  pid_t pid = -1;
  ~Holder() {
    if (pid <= 0) return;
    (void)::kill(pid, SIGKILL);
    (void)::waitpid(pid, nullptr, 0);
  }
};

Result<void> WriteProcFile(pid_t pid, const std::string& name, const std::string& text) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  CARREL_ASSIGN(const UniqueFd file, OpenPath(path, O_WRONLY));
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return SysFault("id map", "write " + name);
  return {};
}

}  // namespace

Result<UniqueFd> MakeIdMap(uid_t disk_uid, gid_t disk_gid, uid_t host_uid, gid_t host_gid) {
  Holder holder;
  holder.pid = static_cast<pid_t>(
      ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (holder.pid < 0) return SysFault("id map", "clone with CLONE_NEWUSER");
  if (holder.pid == 0)
    for (;;) ::pause();
  const auto line = [](uint32_t disk, uint32_t host) {
    return std::to_string(disk) + " " + std::to_string(host) + " 1\n";
  };
  CARREL_TRY(WriteProcFile(holder.pid, "uid_map", line(disk_uid, host_uid)));
  CARREL_TRY(WriteProcFile(holder.pid, "gid_map", line(disk_gid, host_gid)));
  return OpenPath("/proc/" + std::to_string(holder.pid) + "/ns/user", O_RDONLY);
}

Result<void> ApplyIdMap(int mount, int id_map) {
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(id_map);
  if (::syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return SysFault("", "mount_setattr with MOUNT_ATTR_IDMAP");
  return {};
}

}  // namespace carrel
