#include "oci/docker_flags.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace carrel {
namespace {

constexpr const char* kLoud = "carrel answers the part of docker that the job agent uses";

Error UnknownFlag(const std::string& flag) { return BadInput("", "unknown flag: " + flag, kLoud); }

// "a=b" to its parts; the value of "a" is `otherwise`.
std::pair<std::string, std::string> SplitPair(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return {text, ""};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

Result<void> ApplyLong(const std::string& argument, const DockerFlags& flags,
                       const std::vector<std::string>& arguments, size_t& i) {
  const bool joined = argument.find('=') != std::string::npos;
  const auto [name, value] = SplitPair(argument.substr(2));
  const auto flag = flags.find(name);
  if (flag == flags.end() || name.size() < 2) return UnknownFlag("--" + name);
  if (joined || !flag->second.takes_value) return flag->second.apply(joined ? value : "true");
  if (++i == arguments.size()) return BadInput("", "flag needs an argument: --" + name);
  return flag->second.apply(arguments[i]);
}

// "-it", "-eNAME", "-e NAME".
Result<void> ApplyShort(const std::string& argument, const DockerFlags& flags,
                        const std::vector<std::string>& arguments, size_t& i) {
  for (size_t at = 1; at < argument.size(); ++at) {
    const auto flag = flags.find(argument.substr(at, 1));
    if (flag == flags.end())
      return BadInput("", "unknown shorthand flag: '" + argument.substr(at, 1) + "' in " + argument,
                      kLoud);
    if (!flag->second.takes_value && !argument.substr(at + 1).starts_with("=")) {
      CARREL_TRY(flag->second.apply("true"));
      continue;
    }
    std::string value = argument.substr(at + 1);
    if (value.starts_with("=")) value.erase(0, 1);
    if (at + 1 == argument.size()) {
      if (++i == arguments.size()) return BadInput("", "flag needs an argument: " + argument);
      value = arguments[i];
    }
    return flag->second.apply(value);
  }
  return {};
}

// What Go's strconv takes for a truth value.
Result<bool> ParseBool(const std::string& flag, const std::string& text) {
  for (const char* yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return true;
  for (const char* no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return BadInput(flag, "invalid value of a flag: \"" + text + "\" is neither true nor false");
}

Result<ContainerMount> ParseMount(const std::string& text) {
  ContainerMount mount;
  std::string type = "volume";
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const auto [key, value] = SplitPair(part);
    if (key == "type") {
      type = value;
    } else if (key == "source" || key == "src") {
      mount.source = value;
    } else if (key == "target" || key == "dst" || key == "destination") {
      mount.target = value;
    } else if (key == "readonly" || key == "ro") {
      CARREL_ASSIGN(mount.read_only, ParseBool("--mount", value.empty() ? "true" : value));
    } else {
      return BadInput("--mount", "unexpected key '" + key + "' in '" + text + "'", kLoud);
    }
  }
  if (type != "bind") return BadInput("--mount", "mount type must be bind: " + type, kLoud);
  if (mount.source.size() > 1 && mount.source.ends_with("/")) mount.source.pop_back();
  if (mount.source.empty() || mount.target.empty())
    return BadInput("--mount", "source and target are needed: " + text);
  return mount;
}

Result<uint64_t> ParseCpus(const std::string& text) {
  char* end = nullptr;
  const double cpus = strtod(text.c_str(), &end);
  const bool number = !text.empty() && *end == '\0';
  if (!number || (cpus != 0 && (!(cpus >= 0.01) || !(cpus <= 1024))))
    return BadInput("--cpus", "must be a number from 0.01 to 1024, or 0: " + text);
  return static_cast<uint64_t>(std::llround(cpus * 1000));
}

// What is accepted because the sandbox does it anyway, and only then.
DockerFlag Always(const std::string& flag, std::vector<std::string> accepted) {
  return {true, [flag, accepted = std::move(accepted)](const std::string& value) -> Result<void> {
            if (std::find(accepted.begin(), accepted.end(), value) != accepted.end()) return {};
            return BadInput(flag, "carrel does not do this: " + value, kLoud);
          }};
}

DockerFlag List(std::vector<std::string>& target) {
  return {true, [&target](const std::string& value) -> Result<void> {
            target.push_back(value);
            return {};
          }};
}

// NAME=VALUE, or NAME with the caller's value; a name that the caller has not is left out.
DockerFlag EnvironmentFlag(std::map<std::string, std::string>& target,
                           const std::function<const char*(const char*)>& lookup) {
  return {true, [&target, &lookup](const std::string& text) -> Result<void> {
            const auto [name, value] = SplitPair(text);
            if (name.empty()) return BadInput("--env", "invalid environment variable: " + text);
            if (text.find('=') != std::string::npos)
              target[name] = value;
            else if (const char* found = lookup(name.c_str()); found != nullptr)
              target[name] = found;
            return {};
          }};
}

template <typename T>
DockerFlag ParsedFlag(std::optional<T>& target,
                      std::function<Result<T>(const std::string&)> parse) {
  return {true, [&target, parse = std::move(parse)](const std::string& text) -> Result<void> {
            CARREL_ASSIGN(target, parse(text));
            return {};
          }};
}

// Docker keeps `files` files of `bytes` each; here it is one file, as large as all of them.
struct LogOptions {
  std::string driver = "json-file";
  std::optional<uint64_t> bytes, files;
};

std::optional<uint64_t> LogBytes(const LogOptions& log) {
  const bool local = log.driver == "local";
  if (!log.bytes && !local) return std::nullopt;
  return log.bytes.value_or(20'000'000) * log.files.value_or(local ? 5 : 1);
}

void AddLogFlags(LogOptions& log, DockerFlags& flags) {
  flags["log-driver"] = {true, [&log](const std::string& text) -> Result<void> {
                           log.driver = text;
                           if (text == "local" || text == "json-file" || text == "journald")
                             return {};
                           return BadInput("--log-driver", "carrel does not do this: " + text,
                                           kLoud);
                         }};
  flags["log-opt"] = {
      true, [&log](const std::string& text) -> Result<void> {
        const auto [name, value] = SplitPair(text);
        if (name == "max-size") {
          CARREL_ASSIGN(log.bytes, ParseDockerSize("--log-opt", value));
          if (*log.bytes > 1ull << 40)
            return BadInput("--log-opt", "invalid size: '" + value + "'");
        } else if (name == "max-file") {
          char* end = nullptr;
          log.files = strtoull(value.c_str(), &end, 10);
          if (value.empty() || *end != '\0' || *log.files < 1 || *log.files > 10'000)
            return BadInput("--log-opt", "invalid max-file: '" + value + "'");
        }
        return {};  // the others say how docker keeps its files
      }};
}

DockerFlags RunFlags(DockerRunOptions& options, LogOptions& log,
                     const std::function<const char*(const char*)>& lookup) {
  static bool ignored = false;  // --init: there is one always
  DockerFlags flags;
  flags["init"] = SwitchFlag(ignored);
  flags["detach"] = flags["d"] = SwitchFlag(options.detach);
  flags["interactive"] = flags["i"] = SwitchFlag(options.interactive);
  flags["rm"] = SwitchFlag(options.remove);
  flags["name"] = TextFlag(options.name);
  flags["network"] = flags["net"] = TextFlag(options.network);
  flags["user"] = flags["u"] = TextFlag(options.user);
  flags["workdir"] = flags["w"] = TextFlag(options.working_directory);
  flags["label"] = flags["l"] = {true, [&](const std::string& text) -> Result<void> {
                                   const auto [name, value] = SplitPair(text);
                                   if (name.empty())
                                     return BadInput("--label", "empty name: '" + text + "'");
                                   options.labels[name] = value;
                                   return {};
                                 }};
  flags["env"] = flags["e"] = EnvironmentFlag(options.environment, lookup);
  flags["mount"] = {true, [&](const std::string& text) -> Result<void> {
                      CARREL_ASSIGN(const ContainerMount mount, ParseMount(text));
                      options.mounts.push_back(mount);
                      return {};
                    }};
  flags["entrypoint"] = {true, [&](const std::string& text) -> Result<void> {
                           options.entrypoint = text;
                           return {};
                         }};
  flags["memory"] = flags["m"] = ParsedFlag<uint64_t>(
      options.memory_bytes,
      [](const std::string& text) { return ParseDockerSize("--memory", text); });
  flags["cpus"] = ParsedFlag<uint64_t>(options.cpu_milli, ParseCpus);
  flags["cap-drop"] = List(options.cap_drop);
  flags["security-opt"] = {true, [&](const std::string& text) -> Result<void> {
                             if (text != "no-new-privileges" && text != "no-new-privileges:true" &&
                                 text != "no-new-privileges=true")
                               return BadInput("--security-opt", "carrel does not do this: " + text,
                                               kLoud);
                             options.security_options.push_back(text);
                             return {};
                           }};
  flags["pull"] = Always("--pull", {"never"});
  AddLogFlags(log, flags);
  // There is no resolver inside, and the one address that can be reached is the gateway's.
  flags["dns"] = flags["add-host"] = {true, [](const std::string&) { return Result<void>(); }};
  return flags;
}

}  // namespace

DockerFlag TextFlag(std::string& target) {
  return {true, [&target](const std::string& value) -> Result<void> {
            target = value;
            return {};
          }};
}

DockerFlag SwitchFlag(bool& target) {
  return {false, [&target](const std::string& value) -> Result<void> {
            CARREL_ASSIGN(target, ParseBool("", value));
            return {};
          }};
}

Result<std::vector<std::string>> ParseDockerFlags(const std::vector<std::string>& arguments,
                                                  const DockerFlags& flags, bool stop_at_first) {
  std::vector<std::string> rest;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool operand = argument.size() < 2 || argument[0] != '-';
    if (operand || argument == "--") {
      if (operand) rest.push_back(argument);
      if (!stop_at_first && operand) continue;
      rest.insert(rest.end(), arguments.begin() + static_cast<ptrdiff_t>(i) + 1, arguments.end());
      break;
    }
    CARREL_TRY(argument[1] == '-' ? ApplyLong(argument, flags, arguments, i)
                                  : ApplyShort(argument, flags, arguments, i));
  }
  return rest;
}

Result<DockerRunOptions> ParseDockerRun(
    const std::vector<std::string>& arguments,
    const std::function<const char*(const char*)>& environment) {
  DockerRunOptions options;
  LogOptions log;
  CARREL_ASSIGN(std::vector<std::string> rest,
                ParseDockerFlags(arguments, RunFlags(options, log, environment), true));
  options.log_bytes = LogBytes(log);
  if (rest.empty()) return BadInput("", "\"docker run\" requires at least 1 argument.");
  options.image = rest[0];
  options.arguments.assign(rest.begin() + 1, rest.end());
  return options;
}

Result<uint64_t> ParseDockerSize(const std::string& flag, const std::string& text) {
  char* end = nullptr;
  const double number = strtod(text.c_str(), &end);
  std::string unit = end;
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  static const std::map<std::string, int> kShifts = {
      {"", 0},     {"b", 0},  {"k", 10},  {"kb", 10},  {"kib", 10}, {"m", 20},  {"mb", 20},
      {"mib", 20}, {"g", 30}, {"gb", 30}, {"gib", 30}, {"t", 40},   {"tb", 40}, {"tib", 40}};
  const auto shift = kShifts.find(unit);
  if (end == text.c_str() || shift == kShifts.end() || !(number >= 0) || !(number < 1e15))
    return BadInput(flag, "invalid size: '" + text + "'");
  const double bytes = std::ldexp(number, shift->second);
  if (bytes > 1e18) return BadInput(flag, "invalid size: '" + text + "'");
  return static_cast<uint64_t>(bytes);
}

}  // namespace carrel
