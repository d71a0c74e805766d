#include "oci/container_json.h"

#include "base/clock.h"
#include "job/utf8.h"

namespace carrel {
namespace {

using Strings = std::vector<std::string>;

std::string Time(int64_t ns) { return ns == 0 ? kNever : Rfc3339(ns); }

OrderedJson OrNull(const Strings& list) { return list.empty() ? OrderedJson() : OrderedJson(list); }

// "5 seconds", "About an hour": as docker's go-units rounds.
std::string HumanDuration(int64_t ns) {
  const int64_t seconds = std::max<int64_t>(0, ns / 1'000'000'000);
  const int64_t hours = (seconds + 1800) / 3600;
  const auto count = [](int64_t number, const char* unit) {
    return std::to_string(number) + " " + unit;
  };
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return count(seconds, "seconds");
  if (seconds < 120) return "About a minute";
  if (seconds < 3600) return count(seconds / 60, "minutes");
  if (hours == 1) return "About an hour";
  if (hours < 48) return count(hours, "hours");
  if (hours < 24L * 14) return count(hours / 24, "days");
  if (hours < 24L * 60) return count(hours / 24 / 7, "weeks");
  if (hours < 24L * 365 * 2) return count(hours / 24 / 30, "months");
  return count(hours / 24 / 365, "years");
}

// "2026-08-01 10:00:00 +0000 UTC": as docker lists a time.
std::string ListedTime(int64_t ns) {
  std::string time = Rfc3339(ns).substr(0, 19);
  time[10] = ' ';
  return time + " +0000 UTC";
}

// A word with blanks is in quotes; at most 20 characters of it all, in double quotes.
std::string ListedCommand(const Strings& words, bool truncate) {
  std::string command;
  for (const std::string& word : words) {
    const bool quoted = !command.empty() && word.find(' ') != std::string::npos;
    command += command.empty() ? word : quoted ? " '" + word + "'" : " " + word;
  }
  size_t end = 0;
  for (int characters = 0; end < command.size() && characters < 19; ++characters)
    end += std::max<size_t>(1, FirstCodePoint(std::string_view(command).substr(end)).bytes);
  const std::string_view after = std::string_view(command).substr(end);
  if (truncate && !after.empty() && after.size() > std::max<size_t>(1, FirstCodePoint(after).bytes))
    command = command.substr(0, end) + "…";
  // As Go quotes: the quotes and backslashes of JSON, and what is not UTF-8 replaced.
  return OrderedJson(command).dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

std::string StatusText(const ContainerState& state, int64_t now_ns) {
  if (state.running()) return "Up " + HumanDuration(now_ns - state.started_ns);
  if (state.status == "created") return "Created";
  return "Exited (" + std::to_string(state.exit_code) + ") " +
         HumanDuration(now_ns - state.finished_ns) + " ago";
}

OrderedJson MountsJson(const std::vector<ContainerMount>& mounts) {
  OrderedJson list = OrderedJson::array();
  for (const ContainerMount& mount : mounts)
    list.push_back({{"Type", "bind"},
                    {"Source", mount.source},
                    {"Destination", mount.target},
                    {"Mode", ""},
                    {"RW", !mount.read_only},
                    {"Propagation", "rprivate"}});
  return list;
}

Strings WholeCommand(const ContainerConfig& config) {
  Strings command = config.entrypoint;
  command.insert(command.end(), config.arguments.begin(), config.arguments.end());
  return command;
}

OrderedJson HostConfigJson(const ContainerConfig& config) {
  return {{"NetworkMode", config.network},
          {"AutoRemove", config.auto_remove},
          {"CapAdd", nullptr},
          {"CapDrop", OrNull(config.cap_drop)},
          {"SecurityOpt", OrNull(config.security_options)},
          {"Privileged", false},
          {"ReadonlyRootfs", true},
          {"Memory", config.memory_bytes},
          {"MemorySwap", config.memory_bytes},
          {"NanoCpus", config.cpu_milli * 1'000'000},
          {"Init", true},
          {"Runtime", "carrel"}};
}

}  // namespace

OrderedJson ToJson(const ContainerConfig& config) {
  OrderedJson mounts = OrderedJson::array();
  for (const ContainerMount& mount : config.mounts)
    mounts.push_back(
        {{"source", mount.source}, {"target", mount.target}, {"read_only", mount.read_only}});
  return {{"id", config.id},
          {"name", config.name},
          {"audit_id", config.audit_id},
          {"created_ns", config.created_ns},
          {"image_name", config.image_name},
          {"image_digest", config.image_digest},
          {"entrypoint", config.entrypoint},
          {"arguments", config.arguments},
          {"environment", config.environment},
          {"labels", config.labels},
          {"user", config.user},
          {"working_directory", config.working_directory},
          {"memory_bytes", config.memory_bytes},
          {"cpu_milli", config.cpu_milli},
          {"cap_drop", config.cap_drop},
          {"security_options", config.security_options},
          {"mounts", mounts},
          {"network", config.network},
          {"auto_remove", config.auto_remove}};
}

OrderedJson ToJson(const ContainerState& state) {
  return {{"status", state.status},
          {"started_ns", state.started_ns},
          {"finished_ns", state.finished_ns},
          {"exit_code", state.exit_code},
          {"oom_killed", state.oom_killed},
          {"error", state.error},
          {"counters",
           {{"memory", state.counters.memory},
            {"cpu", state.counters.cpu},
            {"pids", state.counters.pids},
            {"tasks", state.counters.tasks},
            {"v2", state.counters.v2}}}};
}

// carrel's own files: nlohmann's checks are enough, its exceptions end here.
Result<ContainerConfig> DecodeContainerConfig(const Json& json) try {
  ContainerConfig config;
  json.at("id").get_to(config.id);
  json.at("name").get_to(config.name);
  json.at("audit_id").get_to(config.audit_id);
  json.at("created_ns").get_to(config.created_ns);
  json.at("image_name").get_to(config.image_name);
  json.at("image_digest").get_to(config.image_digest);
  json.at("entrypoint").get_to(config.entrypoint);
  json.at("arguments").get_to(config.arguments);
  json.at("environment").get_to(config.environment);
  json.at("labels").get_to(config.labels);
  json.at("user").get_to(config.user);
  json.at("working_directory").get_to(config.working_directory);
  json.at("memory_bytes").get_to(config.memory_bytes);
  json.at("cpu_milli").get_to(config.cpu_milli);
  json.at("cap_drop").get_to(config.cap_drop);
  json.at("security_options").get_to(config.security_options);
  for (const Json& mount : json.at("mounts"))
    config.mounts.push_back({mount.at("source"), mount.at("target"), mount.at("read_only")});
  json.at("network").get_to(config.network);
  json.at("auto_remove").get_to(config.auto_remove);
  return config;
} catch (const Json::exception& error) {
  return Fault("containers/config.json", error.what());
}

Result<ContainerState> DecodeContainerState(const Json& json) try {
  ContainerState state;
  json.at("status").get_to(state.status);
  json.at("started_ns").get_to(state.started_ns);
  json.at("finished_ns").get_to(state.finished_ns);
  json.at("exit_code").get_to(state.exit_code);
  json.at("oom_killed").get_to(state.oom_killed);
  json.at("error").get_to(state.error);
  const Json& counters = json.at("counters");
  state.counters = {counters.at("memory"), counters.at("cpu"), counters.at("pids"),
                    counters.at("tasks"), counters.at("v2")};
  return state;
} catch (const Json::exception& error) {
  return Fault("containers/state.json", error.what());
}

OrderedJson InspectJson(const ContainerConfig& config, const ContainerState& state, pid_t pid) {
  const Strings command = WholeCommand(config);
  const Strings args(command.begin() + (command.empty() ? 0 : 1), command.end());
  return {{"Id", config.id},
          {"Created", Time(config.created_ns)},
          {"Path", command.empty() ? "" : command[0]},
          {"Args", args},
          {"State",
           {{"Status", state.status},
            {"Running", state.running()},
            {"Paused", false},
            {"Restarting", false},
            {"OOMKilled", state.oom_killed},
            {"Dead", false},
            {"Pid", pid},
            {"ExitCode", state.exit_code},
            {"Error", state.error},
            {"StartedAt", Time(state.started_ns)},
            {"FinishedAt", Time(state.finished_ns)}}},
          {"Image", config.image_digest},
          {"Name", "/" + config.name},
          {"RestartCount", 0},
          {"Platform", "linux"},
          {"HostConfig", HostConfigJson(config)},
          {"Mounts", MountsJson(config.mounts)},
          {"Config",
           {{"Hostname", config.id.substr(0, 12)},
            {"User", config.user},
            {"Env", config.environment},
            {"Cmd", OrNull(config.arguments)},
            {"Image", config.image_name},
            {"WorkingDir", config.working_directory},
            {"Entrypoint", OrNull(config.entrypoint)},
            {"Labels", config.labels}}},
          {"NetworkSettings", {{"Networks", {{config.network, OrderedJson::object()}}}}},
          {"Carrel", {{"AuditLog", config.audit_id}}}};
}

OrderedJson ListRow(const ContainerConfig& config, const ContainerState& state, int64_t now_ns,
                    bool truncate) {
  std::string labels, mounts;
  for (const auto& [name, value] : config.labels)
    labels += (labels.empty() ? "" : ",") + name + "=" + value;
  for (const ContainerMount& mount : config.mounts)
    mounts += (mounts.empty() ? "" : ",") + mount.source;
  return {{"Command", ListedCommand(WholeCommand(config), truncate)},
          {"CreatedAt", ListedTime(config.created_ns)},
          {"ID", truncate ? config.id.substr(0, 12) : config.id},
          {"Image", config.image_name},
          {"Labels", labels},
          {"LocalVolumes", "0"},
          {"Mounts", mounts},
          {"Names", config.name},
          {"Networks", config.network},
          {"Ports", ""},
          {"RunningFor", HumanDuration(now_ns - config.created_ns) + " ago"},
          {"Size", "0B"},
          {"State", state.status},
          {"Status", StatusText(state, now_ns)}};
}

}  // namespace carrel
