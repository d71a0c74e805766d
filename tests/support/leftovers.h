// What a run may leave on the host: everything that a test compares before and after.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/study.h"

namespace carrel::testing_support {

inline std::vector<std::string> LinesWith(const std::string& text, const std::string& part) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (line.find(part) != std::string::npos) lines.push_back(line);
  return lines;
}

/// Every path below `root`, with type, mode, owner, size and times as asked; sorted.
inline std::vector<std::string> Listing(const std::string& root, bool with_times = false) {
  std::vector<std::string> lines;
  std::error_code ignored;
  auto add = [&](const std::filesystem::path& path) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) return;
    std::string line = path.string() + " " + std::to_string(info.st_mode) + " " +
                       std::to_string(info.st_uid) + ":" + std::to_string(info.st_gid);
    if (!S_ISDIR(info.st_mode)) line += " " + std::to_string(info.st_size);
    if (with_times)
      for (const timespec& time : {info.st_mtim, info.st_ctim})
        line += " " + std::to_string(time.tv_sec) + "." + std::to_string(time.tv_nsec);
    lines.push_back(line);
  };
  add(root);
  for (std::filesystem::recursive_directory_iterator it(root, ignored), end; it != end;
       it.increment(ignored))
    add(it->path());
  std::sort(lines.begin(), lines.end());
  return lines;
}

/// Processes under an id of the study's range, and helpers that work below its directory.
inline std::vector<std::string> Processes(const Study& study) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (pid == std::to_string(::getpid())) continue;
    struct stat info {};
    if (::stat(entry.path().c_str(), &info) != 0) continue;
    std::string command = ReadFile(entry.path() / "cmdline").value_or("");
    std::replace(command.begin(), command.end(), '\0', ' ');
    // /proc/PID of a process that cannot be dumped belongs to root: read its status.
    std::string uid;
    std::ifstream status(entry.path() / "status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("Uid:")) uid = line.substr(5, line.find('\t', 5) - 5);
    const uint64_t id = uid.empty() ? 0 : std::stoull(uid);
    if ((id >= study.first_id() && id < study.first_id() + 16) ||
        command.find(study.path()) != std::string::npos)
      found.push_back(pid + " " + command);
  }
  return found;
}

inline std::vector<std::string> LoopDevices(const Study& study) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block", ignored)) {
    const std::string file = ReadFile(entry.path() / "loop/backing_file").value_or("");
    if (file.find(study.path()) != std::string::npos)
      found.push_back(entry.path().filename().string() + " " + file);
  }
  return found;
}

/// Run directories, cgroups, mounts, loop devices and processes of the study's host. When nothing
/// runs there are none, but for what stays by design and is not listed: the mount of the BPF
/// objects, the test's own disks.
inline std::vector<std::string> Leftovers(const Study& study) {
  std::vector<std::string> found;
  auto add = [&](const char* what, const std::vector<std::string>& lines) {
    for (const std::string& line : lines) found.push_back(std::string(what) + ": " + line);
  };
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(study.state() + "/run", ignored))
    names.push_back(entry.path());
  add("run directory", names);
  names.clear();
  for (const std::string& parent : study.CgroupParents())
    for (const auto& entry : std::filesystem::directory_iterator(parent, ignored))
      if (entry.is_directory(ignored)) names.push_back(entry.path());
  add("cgroup", names);
  names.clear();
  for (const std::string& line :
       LinesWith(ReadFile("/proc/self/mountinfo").value_or(""), study.path()))
    if (std::istringstream in(line); in) {
      std::string field, place;
      in >> field >> field >> field >> field >> place;
      if (place != study.state() + "/bpf" && !SmallDisk::Places().contains(place))
        names.push_back(line);
    }
  add("mount", names);
  add("loop device", LoopDevices(study));
  add("process", Processes(study));
  return found;
}

/// The same, after what ends by itself a moment later (a detached loop device) had its moment.
inline std::vector<std::string> SettledLeftovers(const Study& study) {
  (void)WaitFor([&] { return Leftovers(study).empty(); }, 5);
  return Leftovers(study);
}

}  // namespace carrel::testing_support
