#include "job/scratch.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/fs.h"
#include "base/subprocess.h"

namespace carrel {
namespace {

constexpr uint64_t kLeastBytes = 16u << 20;
constexpr uint32_t kBlockBytes = 4096;
constexpr uint64_t kBytesPerInode = 8192;

Result<UniqueFd> MakeImageFile(int directory, const std::string& name, uint64_t bytes) {
  const int flags = name.empty() ? O_RDWR | O_TMPFILE : O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW;
  CARREL_ASSIGN(UniqueFd file, OpenBeneath(directory, name, flags, 0600));
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0)
    return SysFault("scratch", "ftruncate");
  return file;
}

// No journal (the file system lives as long as the job), no reserved blocks, no set-up in the
// background. Blocks as large as the loop device's, whatever mkfs thinks right for a small size.
Result<void> Format(int file, uint64_t inodes) {
  const std::string name = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(file);
  CARREL_TRY(RunChecked({"mkfs.ext4", "-q", "-F", "-b", std::to_string(kBlockBytes), "-O",
                         "^has_journal", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", "-m",
                         "0", "-N", std::to_string(inodes), name}));
  return {};
}

// What mkfs writes to an empty file is the same for the same size: after the first job it is
// copied, which takes 2 ms where mkfs and its fsyncs take a hundred and more. 4 MiB of an 8 GiB
// file.
constexpr int kMostTemplates = 32;
constexpr const char* kTemplateVersion = "1";  // of the options above

Result<void> CopyData(int from, int to) {
  for (off_t at = 0;;) {
    const off_t data = ::lseek(from, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return {};
    const off_t hole = data < 0 ? -1 : ::lseek(from, data, SEEK_HOLE);
    if (hole < 0) return SysFault("scratch", "lseek");
    for (off64_t in = data, out = data; in < hole;) {
      const ssize_t n = ::copy_file_range(from, &in, to, &out, static_cast<size_t>(hole - in), 0);
      if (n <= 0) return SysFault("scratch", "copy_file_range");
    }
    at = hole;
  }
}

// True when `file` has become a copy of the template.
bool TakeTemplate(int templates, const std::string& name, int file, uint64_t bytes) {
  auto kept = OpenBeneath(templates, name, O_RDONLY);
  struct stat info {};
  return kept && ::fstat(kept->get(), &info) == 0 && S_ISREG(info.st_mode) &&
         static_cast<uint64_t>(info.st_size) == bytes && CopyData(kept->get(), file).has_value();
}

// Best effort: without it the next job formats for itself. With a name only when it is whole.
void KeepTemplate(int templates, const std::string& name, int file, uint64_t bytes) {
  const auto names = ListDir(templates);
  if (!names || names->size() >= kMostTemplates) return;
  auto copy = MakeImageFile(templates, "", bytes);
  if (!copy || !CopyData(file, copy->get()) || ::fsync(copy->get()) != 0) return;
  const std::string source = "/proc/self/fd/" + std::to_string(copy->get());
  (void)!::linkat(AT_FDCWD, source.c_str(), templates, name.c_str(), AT_SYMLINK_FOLLOW);
}

Result<void> FormatFromTemplate(const std::string& templates, int file, uint64_t bytes,
                                uint64_t inodes) {
  CARREL_ASSIGN(const UniqueFd directory, MakeDirs(templates, 0700));
  const std::string name =
      std::string(kTemplateVersion) + "-" + std::to_string(bytes) + "-" + std::to_string(inodes);
  if (TakeTemplate(directory.get(), name, file, bytes)) return {};
  CARREL_TRY(Format(file, inodes));
  KeepTemplate(directory.get(), name, file, bytes);
  return {};
}

// Two processes can be told the same free device: the slower one tries again.
Result<UniqueFd> AttachLoop(int file, std::string& device) {
  CARREL_ASSIGN(const UniqueFd control, OpenPath("/dev/loop-control", O_RDWR));
  for (int attempt = 0; attempt < 64; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return SysFault("scratch", "LOOP_CTL_GET_FREE");
    device = "/dev/loop" + std::to_string(number);
    CARREL_ASSIGN(UniqueFd loop, OpenPath(device, O_RDWR));
    loop_config config = {};
    config.fd = static_cast<__u32>(file);
    config.block_size = kBlockBytes;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return loop;
    if (errno == EINVAL) {  // a host file system without direct I/O
      config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
      if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return loop;
    }
    if (errno != EBUSY) return SysFault("scratch", "LOOP_CONFIGURE " + device);
  }
  return Fault("scratch", "no loop device could be had");
}

Result<void> MountDevice(const std::string& device, const std::string& mount_point) {
  // errors=remount-ro: an action that meets a full host disk gets errors, never wrong data.
  if (::mount(device.c_str(), mount_point.c_str(), "ext4", MS_NOSUID | MS_NODEV | MS_NOATIME,
              "noinit_itable,errors=remount-ro") != 0)
    return SysFault("scratch", "mount of " + device);
  return {};
}

}  // namespace

Result<void> EnterPrivateMounts() {
  if (::unshare(CLONE_NEWNS) != 0) return SysFault("mounts", "unshare");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0)
    return SysFault("mounts", "mount --make-rslave /");
  return {};
}

Result<UniqueFd> MakeScratchFile(int directory, const std::string& name, uint64_t bytes,
                                 uint64_t inodes, const std::string& templates) {
  bytes = std::max(bytes, kLeastBytes);
  inodes = std::clamp<uint64_t>(inodes, 64, bytes / kBytesPerInode);
  CARREL_ASSIGN(UniqueFd file, MakeImageFile(directory, name, bytes));
  CARREL_TRY(FormatFromTemplate(templates, file.get(), bytes, inodes));
  return file;
}

Result<Scratch> Scratch::Mount(int file, const std::string& mount_point) {
  std::string device;
  CARREL_ASSIGN(const UniqueFd loop, AttachLoop(file, device));
  CARREL_TRY(MountDevice(device, mount_point));
  Scratch scratch;
  scratch.path_ = mount_point;
  CARREL_ASSIGN(scratch.root_, OpenPath(mount_point, O_RDONLY | O_DIRECTORY));
  if (::unlinkat(scratch.root_.get(), "lost+found", AT_REMOVEDIR) != 0 && errno != ENOENT)
    return SysFault("scratch", "rmdir lost+found");
  return scratch;
}

Scratch::~Scratch() {
  if (!root_) return;
  root_.reset();
  (void)::umount2(path_.c_str(), MNT_DETACH);  // the loop device clears itself
}

Result<void> Scratch::Sync() const {
  if (::syncfs(root_.get()) != 0)
    return SysFault("scratch", "the action's files could not be written to the host's disk");
  return {};
}

Result<void> Scratch::Unmount() {
  root_.reset();
  // A task that has just ended can hold the mount for a moment longer.
  for (int attempt = 0; ::umount2(path_.c_str(), 0) != 0; ++attempt) {
    if (errno != EBUSY || attempt == 500) return SysFault("scratch", "umount");
    ::usleep(2000);
  }
  return {};
}

}  // namespace carrel
