// carrel as `docker`: the calls of the job agent (contract.md), so that an unmodified one works.
// Errors read, and exit statuses are, as docker's.
#include <iterator>
#include <string_view>

#include "cli/command.h"
#include "cli/docker_commands.h"
#include "job/utf8.h"

namespace carrel {
namespace {

using Arguments = std::vector<std::string>;

struct DockerEntry {
  const char* name;
  Result<int> (*run)(const HostConfig& host, const Arguments& arguments);
};

constexpr DockerEntry kEntries[] = {
    {"run", &DockerRunCommand},
    {"container run", &DockerRunCommand},
    {"inspect", &DockerInspect},
    {"container inspect", &DockerContainerInspect},
    {"kill", &DockerKill},
    {"container kill", &DockerKill},
    {"rm", &DockerRemove},
    {"container rm", &DockerRemove},
    {"logs", &DockerLogs},
    {"container logs", &DockerLogs},
    {"ps", &DockerList},
    {"container ls", &DockerList},
    {"container ps", &DockerList},
    {"container list", &DockerList},
    {"stats", &DockerStats},
    {"container stats", &DockerStats},
    {"pull", &DockerPull},
    {"image pull", &DockerPull},
    {"image inspect", &DockerImageInspect},
    {"tag", &DockerTag},
    {"image tag", &DockerTag},
    {"images", &DockerImages},
    {"image ls", &DockerImages},
    {"image list", &DockerImages},
    {"rmi", &DockerRemoveImage},
    {"image rm", &DockerRemoveImage},
    {"volume ls", &DockerVolumes},
    {"volume rm", &DockerRemoveVolume},
    {"version", &DockerVersion},
};

// "container inspect" before "inspect"; `used` is how many words the name took.
const DockerEntry* FindEntry(const Arguments& words, size_t* used) {
  for (*used = std::min<size_t>(2, words.size()); *used > 0; --*used) {
    const std::string name = *used == 2 ? words[0] + " " + words[1] : words[0];
    for (const DockerEntry& entry : kEntries)
      if (name == entry.name) return &entry;
  }
  return nullptr;
}

// The commands, wrapped at 80 columns.
void PrintCommands(FILE* out) {
  std::string line = "carrel answers, as the job agent calls them:";
  for (const DockerEntry& known : kEntries) {
    const std::string name =
        std::string(" ") + known.name + (&known == &*std::rbegin(kEntries) ? "" : ",");
    if (line.size() + name.size() > 80) {
      fprintf(out, "%s\n", line.c_str());
      line = " ";
    }
    line += name;
  }
  fprintf(out, "%s\n", line.c_str());
}

}  // namespace

int PrintDockerError(std::string_view command, const Error& error) {
  std::string text = error.ToString();
  const bool usage = error.what.find("flag") != std::string::npos;
  if (error.code == ENOSPC) text += ": no space left on device";
  const std::string prefix = command.ends_with("run") ? "docker: " : "";
  fprintf(stderr, "%s%s%s\n", prefix.c_str(),
          usage ? "" : "Error response from daemon: ", MakeVisible(text).c_str());
  return command.ends_with("run") ? 125 : 1;  // docker's own: of `run`, and of all else
}

int DockerCommand(int argc, char** argv) {
  Arguments words(argv + 1, argv + argc);
  std::string config, state;
  // For testers; the agent's call has the default configuration.
  while (words.size() >= 2 && (words[0] == "--config" || words[0] == "--state")) {
    (words[0] == "--config" ? config : state) = words[1];
    words.erase(words.begin(), words.begin() + 2);
  }
  if (!words.empty() && (words[0] == "--version" || words[0] == "-v")) words[0] = "version";
  size_t used = 0;
  const DockerEntry* entry = FindEntry(words, &used);
  if (entry == nullptr) {
    const std::string named = words.empty() ? "" : words[0];
    const bool help = named == "--help" || named == "-h" || named == "help";
    if (!help)
      fprintf(stderr, "docker: '%s' is not a docker command that carrel answers.\n",
              MakeVisible(named).c_str());
    PrintCommands(help ? stdout : stderr);
    return help ? 0 : 1;
  }
  const auto host = LoadHostConfig(config, state);
  if (!host) return PrintDockerError(entry->name, host.error());
  auto status =
      entry->run(*host, Arguments(words.begin() + static_cast<ptrdiff_t>(used), words.end()));
  return status ? *status : PrintDockerError(entry->name, status.error());
}

}  // namespace carrel
