// Docker's commands on containers.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <regex>

#include "base/clock.h"
#include "base/fs.h"
#include "cli/docker_commands.h"
#include "cli/docker_output.h"
#include "job/utf8.h"
#include "oci/container.h"
#include "oci/container_json.h"
#include "oci/container_log.h"
#include "oci/docker_flags.h"
#include "oci/docker_image.h"
#include "oci/docker_run.h"

namespace carrel {
namespace {

// Calls `act` for each name; all are tried, and each error is told, as docker does.
Result<int> ForEach(
    const HostConfig& host, const DockerArguments& names,
    const std::function<Result<void>(const ContainerStore&, const Container&)>& act) {
  if (names.empty()) return BadInput("", "this command requires at least 1 argument.");
  CARREL_ASSIGN(const ContainerStore store, ContainerStore::Open(host.state));
  int status = 0;
  for (const std::string& name : names) {
    auto found = store.Find(name);
    Result<void> done = found ? act(store, *found) : Result<void>(found.error());
    if (done)
      printf("%s\n", name.c_str());
    else
      status = PrintDockerError("", done.error());
  }
  return status;
}

}  // namespace

Result<int> DockerRunCommand(const HostConfig& host, const DockerArguments& arguments) {
  CARREL_ASSIGN(DockerRunOptions options, ParseDockerRun(arguments, &::getenv));
  CARREL_ASSIGN(options.image_digest, ResolveForDocker(host.state, options.image));
  const bool detach = options.detach;
  CARREL_ASSIGN(const DockerRunOutcome outcome, DockerRun(host, options));
  if (detach) printf("%s\n", outcome.id.c_str());
  if (!outcome.error.empty())
    fprintf(stderr, "docker: Error response from daemon: %s\n", MakeVisible(outcome.error).c_str());
  return outcome.exit_code;
}

Result<int> DockerContainerInspect(const HostConfig& host, const DockerArguments& arguments) {
  std::string format;
  CARREL_ASSIGN(
      const DockerArguments names,
      ParseDockerFlags(arguments, {{"format", TextFlag(format)}, {"f", TextFlag(format)}}, false));
  return InspectEach(names, format, [&](const std::string& name) -> Result<OrderedJson> {
    CARREL_ASSIGN(const ContainerStore store, ContainerStore::Open(host.state));
    CARREL_ASSIGN(const Container container, store.Find(name));
    return container.Inspect();
  });
}

Result<int> DockerInspect(const HostConfig& host, const DockerArguments& arguments) {
  std::string format, type;
  CARREL_ASSIGN(const DockerArguments names, ParseDockerFlags(arguments,
                                                              {{"format", TextFlag(format)},
                                                               {"f", TextFlag(format)},
                                                               {"type", TextFlag(type)}},
                                                              false));
  if (!type.empty() && type != "container" && type != "image")
    return BadInput("--type", "unknown type: \"" + type + "\"", "carrel has containers and images");
  return InspectEach(names, format, [&](const std::string& name) -> Result<OrderedJson> {
    CARREL_ASSIGN(const ContainerStore store, ContainerStore::Open(host.state));
    auto container = store.Find(name);
    if (container && type != "image") return container->Inspect();
    if (type == "container") return std::move(container).error();
    auto image = InspectImage(host.state, name);
    if (!image) return BadInput("", "No such object: " + name);
    return image;
  });
}

Result<int> DockerKill(const HostConfig& host, const DockerArguments& arguments) {
  std::string signal = "KILL";
  CARREL_ASSIGN(
      const DockerArguments names,
      ParseDockerFlags(arguments, {{"signal", TextFlag(signal)}, {"s", TextFlag(signal)}}, false));
  if (signal != "KILL" && signal != "SIGKILL" && signal != "9")
    return BadInput("--signal", "carrel only kills: " + signal);
  return ForEach(host, names, [](const ContainerStore&, const Container& container) {
    return container.Kill();
  });
}

Result<int> DockerRemove(const HostConfig& host, const DockerArguments& arguments) {
  bool force = false, volumes = false;
  CARREL_ASSIGN(const DockerArguments names, ParseDockerFlags(arguments,
                                                              {{"force", SwitchFlag(force)},
                                                               {"f", SwitchFlag(force)},
                                                               {"volumes", SwitchFlag(volumes)},
                                                               {"v", SwitchFlag(volumes)}},
                                                              false));
  return ForEach(host, names, [&](const ContainerStore& store, const Container& container) {
    return store.Remove(container, force);
  });
}

namespace {

struct LogOptions {
  std::string tail = "all";
  bool timestamps = false, follow = false;
};

void PrintLogLine(const LogLine& line, bool timestamps) {
  FILE* out = line.stream == 2 ? stderr : stdout;
  if (timestamps) fprintf(out, "%s ", line.time.c_str());
  fprintf(out, "%s\n", line.text.c_str());
  fflush(out);  // two streams that often are one pipe: the order of the lines is kept
}

Result<void> PrintLogs(const Container& container, const LogOptions& options, int64_t tail) {
  const auto print = [&](const LogLine& line) { PrintLogLine(line, options.timestamps); };
  auto file = OpenBeneath(container.directory(), "log.jsonl", O_RDONLY);
  for (bool ended = false; !file && !ended && options.follow;) {
    CARREL_ASSIGN(const ContainerState state, container.State());
    ended = !state.running();
    ::usleep(50'000);
    file = OpenBeneath(container.directory(), "log.jsonl", O_RDONLY);
  }
  if (!file) return file.error().code == ENOENT ? Result<void>() : std::move(file).error();
  CARREL_TRY(ReadContainerLog(file->get(), tail, print));
  for (bool running = options.follow; running;) {
    // The state is read first: what was written before the end is read after it.
    CARREL_ASSIGN(const ContainerState state, container.State());
    running = state.running();
    CARREL_TRY(ReadContainerLog(file->get(), -1, print));
    if (running) ::usleep(100'000);
  }
  return {};
}

}  // namespace

Result<int> DockerLogs(const HostConfig& host, const DockerArguments& arguments) {
  LogOptions options;
  CARREL_ASSIGN(const DockerArguments names,
                ParseDockerFlags(arguments,
                                 {{"tail", TextFlag(options.tail)},
                                  {"n", TextFlag(options.tail)},
                                  {"timestamps", SwitchFlag(options.timestamps)},
                                  {"t", SwitchFlag(options.timestamps)},
                                  {"follow", SwitchFlag(options.follow)},
                                  {"f", SwitchFlag(options.follow)}},
                                 false));
  if (names.size() != 1) return BadInput("", "\"docker logs\" requires exactly 1 argument.");
  char* end = nullptr;
  const int64_t tail = options.tail == "all" ? -1 : strtoll(options.tail.c_str(), &end, 10);
  if (end != nullptr && (*end != '\0' || tail < 0))
    return BadInput("--tail", "must be a number or \"all\": " + options.tail);
  CARREL_ASSIGN(const ContainerStore store, ContainerStore::Open(host.state));
  CARREL_ASSIGN(const Container container, store.Find(names[0]));
  CARREL_TRY(PrintLogs(container, options, tail));
  return 0;
}

namespace {

constexpr const char* kContainerStates[] = {"created", "restarting", "running", "removing",
                                            "paused",  "exited",     "dead"};

struct ListFilter {
  std::string key, value;
  std::regex name;  ///< of the key "name"

  bool Matches(const ContainerConfig& config, const ContainerState& state) const {
    if (key == "name")
      return std::regex_search(config.name, name) || std::regex_search("/" + config.name, name);
    if (key == "id") return config.id.starts_with(value);
    if (key == "status") return state.status == value;
    if (key == "ancestor") return config.image_name == value || config.image_digest == value;
    const size_t equals = value.find('=');
    const auto label = config.labels.find(value.substr(0, equals));
    return label != config.labels.end() &&
           (equals == std::string::npos || label->second == value.substr(equals + 1));
  }
};

Result<ListFilter> ParseFilter(const std::string& text) {
  const size_t equals = text.find('=');
  ListFilter filter{text.substr(0, equals),
                    equals == std::string::npos ? "" : text.substr(equals + 1), std::regex()};
  const Error invalid = BadInput("--filter", "invalid filter '" + text + "'",
                                 "carrel knows name, id, status, ancestor and label");
  const bool known = filter.key == "name" || filter.key == "id" || filter.key == "status" ||
                     filter.key == "ancestor" || filter.key == "label";
  if (!known || equals == std::string::npos) return invalid;
  if (filter.key == "status" && std::find(std::begin(kContainerStates), std::end(kContainerStates),
                                          filter.value) == std::end(kContainerStates))
    return invalid;
  if (filter.key != "name") return filter;
  try {
    filter.name = std::regex(filter.value);
  } catch (const std::regex_error&) {
    return invalid;
  }
  return filter;
}

// As docker has it: a container has all the labels that are asked for, and of each other key one.
bool Wanted(const std::vector<ListFilter>& filters, const ContainerConfig& config,
            const ContainerState& state) {
  return std::all_of(filters.begin(), filters.end(), [&](const ListFilter& filter) {
    if (filter.key == "label") return filter.Matches(config, state);
    return std::any_of(filters.begin(), filters.end(), [&](const ListFilter& other) {
      return other.key == filter.key && other.Matches(config, state);
    });
  });
}

Result<std::vector<OrderedJson>> ListRows(const HostConfig& host,
                                          const std::vector<ListFilter>& filters, bool all,
                                          bool truncate) {
  CARREL_ASSIGN(const ContainerStore store, ContainerStore::Open(host.state));
  CARREL_ASSIGN(const std::vector<Container> containers, store.List());
  std::vector<OrderedJson> rows;
  const int64_t now = NowNs();
  for (const Container& container : containers) {
    const auto state = container.State();
    if (!state && state.error().code == ENOENT) continue;  // another command removes it just now
    if (!state) return state.error();
    if ((all || state->running()) && Wanted(filters, container.config(), *state))
      rows.push_back(ListRow(container.config(), *state, now, truncate));
  }
  return rows;
}

}  // namespace

Result<int> DockerList(const HostConfig& host, const DockerArguments& arguments) {
  bool all = false, quiet = false, no_trunc = false;
  std::string format;
  std::vector<ListFilter> filters;
  const DockerFlag filter{true, [&](const std::string& text) -> Result<void> {
                            CARREL_ASSIGN(const ListFilter parsed, ParseFilter(text));
                            filters.push_back(parsed);
                            return {};
                          }};
  CARREL_ASSIGN(const DockerArguments rest, ParseDockerFlags(arguments,
                                                             {{"all", SwitchFlag(all)},
                                                              {"a", SwitchFlag(all)},
                                                              {"quiet", SwitchFlag(quiet)},
                                                              {"q", SwitchFlag(quiet)},
                                                              {"no-trunc", SwitchFlag(no_trunc)},
                                                              {"format", TextFlag(format)},
                                                              {"filter", filter},
                                                              {"f", filter}},
                                                             false));
  if (!rest.empty()) return BadInput("", "\"docker container ls\" accepts no arguments.");
  // A status that's asked for is shown whether it runs or not.
  for (const ListFilter& each : filters) all = all || each.key == "status";
  CARREL_ASSIGN(const std::vector<OrderedJson> rows, ListRows(host, filters, all, !no_trunc));
  return PrintRows(rows, quiet ? "{{.ID}}" : format,
                   {"ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"},
                   {{"Command", "COMMAND"},
                    {"CreatedAt", "CREATED AT"},
                    {"ID", "CONTAINER ID"},
                    {"Image", "IMAGE"},
                    {"Labels", "LABELS"},
                    {"LocalVolumes", "LOCAL VOLUMES"},
                    {"Mounts", "MOUNTS"},
                    {"Names", "NAMES"},
                    {"Networks", "NETWORKS"},
                    {"Ports", "PORTS"},
                    {"RunningFor", "CREATED"},
                    {"Size", "SIZE"},
                    {"State", "STATE"},
                    {"Status", "STATUS"}});
}

}  // namespace carrel
