// Files and directories, by descriptor. Paths below a directory that somebody else can write are
// resolved with openat2 and never joined as strings.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

/// Opens a path that the operator named (configuration, command line). Always close-on-exec.
Result<UniqueFd> OpenPath(const std::string& path, int flags, mode_t mode = 0);

/// Opens `path` beneath `dir`: no "..", no absolute path, no magic link, and no symbolic link in
/// any component. `path` "." or "" opens the directory itself.
Result<UniqueFd> OpenBeneath(int dir, const std::string& path, int flags, mode_t mode = 0);

/// Opens `path` as if `root` were "/": symbolic links are followed but cannot leave it. For image
/// root filesystems. Magic links are refused.
Result<UniqueFd> OpenInRoot(int root, const std::string& path, int flags, mode_t mode = 0);

/// Makes every directory of the relative `path` beneath `dir` and opens the last. Existing
/// directories are left as they are; links are not followed.
Result<UniqueFd> MakeDirsBeneath(int dir, const std::string& path, mode_t mode);

/// Makes an operator's directory with its parents (as `mkdir -p`), and opens it.
Result<UniqueFd> MakeDirs(const std::string& path, mode_t mode);

/// Reads all of a file; more than `max_bytes` is an error (EFBIG).
Result<std::string> ReadFd(int fd, size_t max_bytes);
Result<std::string> ReadFile(const std::string& path, size_t max_bytes = 16u << 20);

Result<void> WriteAll(int fd, std::string_view data);

/// Writes to a temporary name in the same directory, fsyncs, renames over `name`, fsyncs the
/// directory. After a crash either the old or the new content is there. `name` has no '/'.
/// Owner and group of -1 are left alone.
Result<void> WriteFileAtomic(int dir, const std::string& name, std::string_view data, mode_t mode,
                             uid_t owner = static_cast<uid_t>(-1),
                             gid_t group = static_cast<gid_t>(-1));

/// Removes what a WriteFileAtomic of `name` that was killed has left. Nobody may write it
/// meanwhile.
Result<void> RemoveTemporaries(int dir, const std::string& name);

/// Waits for flock's exclusive lock, which the open file description then has.
Result<void> LockExclusively(int fd, const std::string& where);

/// The names in a directory, sorted, without "." and "..".
Result<std::vector<std::string>> ListDir(int dir);

/// Removes `name` beneath `dir`, with all below it; never follows a link or crosses a mount. A name
/// that does not exist is success.
Result<void> RemoveTree(int dir, const std::string& name);

/// True when `name` is a single path component that is safe to use: not empty, ".", "..", at most
/// 255 bytes, no '/', no NUL or control character.
bool IsSafeComponent(std::string_view name);

/// True when `path` is relative, normal (no empty, "." or ".." part), without NUL or control
/// characters, and each part is a safe component.
bool IsNormalRelativePath(std::string_view path);

}  // namespace carrel
