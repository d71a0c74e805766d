// The plan as people and golden files see it.
#include <sys/mount.h>
#include <sys/resource.h>

#include "plan/launch_plan.h"

namespace carrel {
namespace {

using Kind = Operation::Kind;

const char* RlimitName(int resource) {
  static const std::map<int, const char*> kNames = {{RLIMIT_CORE, "core"},
                                                    {RLIMIT_FSIZE, "fsize"},
                                                    {RLIMIT_NOFILE, "nofile"},
                                                    {RLIMIT_NPROC, "nproc"},
                                                    {RLIMIT_MEMLOCK, "memlock"},
                                                    {RLIMIT_MSGQUEUE, "msgqueue"},
                                                    {RLIMIT_SIGPENDING, "sigpending"},
                                                    {RLIMIT_NICE, "nice"},
                                                    {RLIMIT_RTPRIO, "rtprio"}};
  auto found = kNames.find(resource);
  return found == kNames.end() ? "?" : found->second;
}

OrderedJson FlagNames(uint64_t flags) {
  OrderedJson names = OrderedJson::array();
  const std::pair<uint64_t, const char*> known[] = {{MOUNT_ATTR_RDONLY, "ro"},
                                                    {MOUNT_ATTR_NOSUID, "nosuid"},
                                                    {MOUNT_ATTR_NODEV, "nodev"},
                                                    {MOUNT_ATTR_NOEXEC, "noexec"}};
  for (const auto& [flag, name] : known)
    if ((flags & flag) != 0) names.push_back(name);
  return names;
}

OrderedJson OperationJson(const Operation& operation) {
  OrderedJson json = {{"operation", KindName(operation.kind)}};
  if (!operation.source.empty()) json["source"] = operation.source;
  if (!operation.source2.empty()) json["source2"] = operation.source2;
  if (!operation.target.empty()) json["target"] = operation.target;
  if (!operation.options.empty()) json["options"] = operation.options;
  if (operation.mount_flags != 0) json["flags"] = FlagNames(operation.mount_flags);
  if (operation.kind == Kind::kRlimit) {
    json["resource"] = RlimitName(operation.resource);
    json["limit"] = operation.number;
  } else if (operation.kind == Kind::kAffinity) {
    json["processors"] = operation.number;
  } else if (operation.kind == Kind::kUserNamespace) {
    json["host_uid"] = operation.number;
    json["host_gid"] = operation.number2;
  } else if (operation.id_mapped) {
    json["disk_uid"] = operation.number;
    json["disk_gid"] = operation.number2;
  } else if (operation.kind == Kind::kIds) {
    json["uid"] = operation.number;
    json["gid"] = operation.number2;
  }
  return json;
}

OrderedJson LimitsJson(const LaunchLimits& limits) {
  return {{"memory_bytes", limits.memory_bytes},     {"cpu_milli", limits.cpu_milli},
          {"cpu_weight", limits.cpu_weight},         {"io_weight", limits.io_weight},
          {"processes", limits.processes},           {"time_seconds", limits.time_seconds},
          {"grace_seconds", limits.grace_seconds},   {"scratch_bytes", limits.scratch_bytes},
          {"scratch_inodes", limits.scratch_inodes}, {"file_bytes", limits.file_bytes},
          {"log_bytes", limits.log_bytes},           {"open_files", limits.open_files}};
}

}  // namespace

const char* KindName(Kind kind) {
  static constexpr const char* kNames[] = {"join-cgroup",
                                           "private-mounts",
                                           "root",
                                           "bind",
                                           "tmpfs",
                                           "overlay",
                                           "proc",
                                           "pivot-root",
                                           "loopback-up",
                                           "hostname",
                                           "affinity",
                                           "rlimit",
                                           "user-namespace",
                                           "no-more-user-namespaces",
                                           "ids",
                                           "working-directory",
                                           "keyring",
                                           "drop-capabilities",
                                           "no-new-privileges",
                                           "landlock",
                                           "streams",
                                           "seccomp",
                                           "exec-init"};
  static_assert(std::size(kNames) == static_cast<size_t>(Kind::kExecInit) + 1);
  return kNames[static_cast<size_t>(kind)];
}

std::string Describe(const Operation& operation) {
  std::string text = KindName(operation.kind);
  if (operation.kind == Kind::kRlimit) text += std::string(" ") + RlimitName(operation.resource);
  if (!operation.target.empty()) text += " at " + operation.target;
  return text;
}

OrderedJson LaunchPlan::ToJson() const {
  OrderedJson json = {{"id", id}, {"argv", argv}};
  json["environment"] = OrderedJson::array();
  for (const std::string& entry : environment)
    json["environment"].push_back(entry.substr(0, entry.find('=')));
  json["host_uid"] = host_uid;
  json["host_gid"] = host_gid;
  json["limits"] = LimitsJson(limits);
  json["landlock_writable"] = landlock_writable;
  json["landlock_tcp"] = !landlock_tcp_port ? "any"
                         : *landlock_tcp_port == 0
                             ? "none"
                             : "connect " + std::to_string(*landlock_tcp_port);
  json["operations"] = OrderedJson::array();
  for (const Operation& operation : operations)
    json["operations"].push_back(OperationJson(operation));
  return json;
}

}  // namespace carrel
