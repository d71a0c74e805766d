// The table of commands. One file per command: parse the options, call one function, print one
// result. Only the named command's options are built, so that a start pays for nothing else.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// A command gets its own arguments (argv[0] is its name) and returns the exit status of carrel.
struct Command {
  const char* name;
  const char* summary;
  int (*run)(int argc, char** argv);
};

int AuditCommand(int argc, char** argv);
int DockerCommand(int argc, char** argv);
int DoctorCommand(int argc, char** argv);
int ExecCommand(int argc, char** argv);
int ImageCommand(int argc, char** argv);
int PolicyCommand(int argc, char** argv);
int RunCommand(int argc, char** argv);

/// Where carrel keeps everything of its own, when nothing else is said.
inline constexpr const char* kDefaultState = "/var/lib/carrel";

/// Parses with CLI11; on bad options (or --help) prints and sets `*status`, and returns false. What
/// is wrong with an option is said as "carrel COMMAND: ...".
bool ParseOptions(CLI::App& app, int argc, char** argv, int* status);

/// Prints "carrel: <error>" on stderr and returns the exit status of its kind: the one place where
/// errors become text. `program` for a command whose every message names it ("carrel exec").
int PrintError(const Error& error, const std::string& program = "carrel");

}  // namespace carrel
