#include "job/collect_withheld.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

namespace carrel {
namespace {

constexpr std::string_view kFirstLine = "This output was withheld from level 4.\n";

enum class Present { kNothing, kMessage, kOther };

Present Look(int workspace, const std::string& path) {
  auto file = OpenBeneath(workspace, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file) return file.error().code == ENOENT ? Present::kNothing : Present::kOther;
  char start[64];
  const ssize_t n = ::pread(file->get(), start, kFirstLine.size(), 0);
  const bool message = n > 0 && std::string_view(start, static_cast<size_t>(n)) == kFirstLine;
  return message ? Present::kMessage : Present::kOther;
}

Result<void> Unlink(int workspace, const std::string& path) {
  const auto [directory, name] = SplitLast(path);
  auto dir = OpenBeneath(workspace, directory, O_RDONLY | O_DIRECTORY);
  if (!dir && (dir.error().code == ENOENT || dir.error().code == ENOTDIR)) return {};
  if (!dir) return std::move(dir).error();
  // A directory is no earlier copy of a file: it has other outputs in it.
  if (::unlinkat(dir->get(), name.c_str(), 0) != 0 && errno != ENOENT && errno != EISDIR)
    return SysFault(path, "unlink");
  return {};
}

}  // namespace

std::string WithheldMessage(const std::string& path, const std::string& reason) {
  return std::string(kFirstLine) + "\nOutput: " + path + "\nReason: " + reason +
         ".\n\nThe file itself is kept at level 3 (highly sensitive). Change the action so that "
         "the\nfile passes, or give it the level highly_sensitive in project.yaml, and run the "
         "action\nagain: this message goes away when the output passes.\n";
}

Result<void> StageWithheldMessage(int medium_workspace, const std::string& path,
                                  const std::string& reason, const LevelOwnership& ownership,
                                  Staging* staging) {
  const std::string message_path = path + ".txt";
  if (!IsNormalRelativePath(message_path)) return {};
  if (Look(medium_workspace, message_path) == Present::kOther) return {};
  CARREL_ASSIGN(UniqueFd file, staging->Add(message_path, ownership));
  auto written = WriteAll(file.get(), WithheldMessage(path, reason));
  if (!written) written.error().where = message_path;
  return written;
}

Result<void> RemoveWithheldMessage(int medium_workspace, const std::string& path) {
  const std::string message_path = path + ".txt";
  if (!IsNormalRelativePath(message_path)) return {};
  if (Look(medium_workspace, message_path) != Present::kMessage) return {};
  return Unlink(medium_workspace, message_path);
}

Result<void> RemoveEarlierCopy(int medium_workspace, const std::string& path) {
  return Unlink(medium_workspace, path);
}

}  // namespace carrel
