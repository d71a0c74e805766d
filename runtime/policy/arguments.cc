#include "policy/arguments.h"

#include <algorithm>

#include "base/fs.h"
#include "base/json.h"
#include "policy/names.h"

namespace carrel {

std::optional<std::string> FindRefusedArgument(const std::vector<std::string>& args,
                                               const std::vector<std::string>& refused) {
  for (const std::string& arg : args) {
    const std::string option = arg.substr(0, arg.find('='));
    for (const std::string& name : refused) {
      if (name == "@" && arg.starts_with('@')) return arg;
      // argparse takes any unambiguous beginning of a long option for the option.
      const bool abbreviated =
          option.size() > 2 && option.starts_with("--") && name.starts_with(option);
      // A short option takes its value without a blank: "-dVALUE".
      const bool attached =
          name.size() == 2 && name[0] == '-' && name[1] != '-' && arg.starts_with(name);
      if (option == name || abbreviated || attached) return arg;
    }
  }
  return std::nullopt;
}

Result<std::string> FindOnlyPositional(const std::vector<std::string>& args,
                                       const std::vector<std::string>& options) {
  std::vector<std::string> positionals;
  for (size_t i = 0; i < args.size(); ++i) {
    if (!args[i].starts_with('-')) {
      positionals.push_back(args[i]);
      continue;
    }
    const size_t equals = args[i].find('=');
    if (std::find(options.begin(), options.end(), args[i].substr(0, equals)) == options.end())
      return BadInput("args/" + std::to_string(i),
                      "\"" + args[i] + "\" is not an option that carrel can read here",
                      "Write options in full; \"--\" is not used");
    if (equals == std::string::npos && ++i == args.size())
      return BadInput("args/" + std::to_string(i - 1), "the option has no value");
  }
  if (positionals.size() != 1)
    return BadInput("args",
                    "must name exactly one file, not " + std::to_string(positionals.size()));
  if (!IsNormalRelativePath(positionals[0]))
    return BadInput("args", "\"" + positionals[0] + "\" is not a path in the workspace",
                    "Use a relative path without \".\" or \"..\" parts");
  return positionals[0];
}

Result<std::vector<std::string>> ParsePermissionList(const std::string& text) {
  CARREL_ASSIGN(Json list, ParseJson(text, "EHRQL_PERMISSIONS", 65536));
  std::vector<std::string> names;
  if (!list.is_array()) return BadInput("", "must be a JSON list of names");
  for (const Json& name : list) {
    if (!name.is_string() || !IsName(name.get_ref<const std::string&>()))
      return BadInput("", "must be a JSON list of names");
    names.push_back(name.get<std::string>());
  }
  return names;
}

}  // namespace carrel
