// Images with database clients: programs of this host with the libraries that they need.
#pragma once

#include <string>
#include <vector>

#include "support/postgres.h"
#include "support/study.h"

namespace carrel::testing_support {

/// Copies host programs to the /bin of a root filesystem, and the libraries of all that is in it.
inline void AddPrograms(const std::string& root, std::vector<std::string> programs) {
  const std::string script =
      "set -e; root=$1; shift; cp -L \"$@\" $root/bin/;"
      "{ ldd \"$@\" $(find $root/usr -name '*.so' 2>/dev/null); } | grep -oE '/[^ ]*\\.so[^ ]*' |"
      "  grep '^/lib' | sort -u | xargs cp -L --parents -t $root\n";
  programs.insert(programs.begin(), {"sh", "-c", script, "sh", root});
  auto made = RunTool(programs);
  ASSERT_EQ(made.exit_code, 0) << made.errors;
}

/// Imports the root filesystem that a Study made for its images, with what was added, as `name`.
inline void ImportRoot(Study& study, const std::string& name,
                       const std::vector<std::string>& entrypoint = {}) {
  const std::string layout = study.path() + "/layout-" + name;
  WriteOciLayout(layout, study.path() + "/rootfs",
                 {{"Env", {"PATH=/bin", "FROM_IMAGE=yes"}}, {"Entrypoint", entrypoint}});
  auto imported = study.Carrel({"image", "import", layout, "--name", name});
  ASSERT_EQ(imported.exit_code, 0) << imported.errors;
}

/// The tool of a Study that reaches databases has this image, too.
inline void AllowVersion(Study& study, const std::string& version) {
  study.EditJson("policies/tools.json",
                 [&](Json& tools) { tools["tools"]["dbprobe"]["versions"].push_back(version); });
}

}  // namespace carrel::testing_support
