#include "image/build_packages.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/subprocess.h"
#include "image/recipe_sources.h"

namespace carrel {
namespace {

// An hour: a large image over a slow line.
constexpr std::chrono::seconds kTimeout{3600};
// The version of a package that is there in name only.
constexpr char kEmptyVersion[] = "99:0+carrel";

// For the hooks of mmdebstrap, which a shell runs.
std::string ShellQuote(const std::string& text) {
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

Result<void> WriteText(const std::string& path, std::string_view text) {
  CARREL_ASSIGN(UniqueFd fd, OpenPath(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  return WriteAll(fd.get(), text);
}

std::string EmptyControl(const std::string& name) {
  return "Package: " + name + "\nVersion: " + kEmptyVersion +
         "\nArchitecture: all\nMulti-Arch: foreign\nMaintainer: carrel\n"
         "Description: nothing, in place of " +
         name + " (see the image's recipe)\n";
}

// Debian's python3-scipy brings a C++ compiler, through a package that only its build needs. A
// package of the same name with nothing in it satisfies the dependency (as equivs would).
Result<std::string> MakeEmptyPackage(const std::string& repository, const std::string& name) {
  const std::string tree = repository + "/tree-" + name;
  const std::string file = name + ".deb";
  CARREL_TRY(MakeDirs(tree + "/DEBIAN", 0755));
  CARREL_TRY(WriteText(tree + "/DEBIAN/control", EmptyControl(name)));
  CARREL_TRY(RunChecked({"dpkg-deb", "--build", "-Znone", tree, repository + "/" + file}));
  CARREL_ASSIGN(std::string data, ReadFile(repository + "/" + file));
  return EmptyControl(name) + "Filename: ./" + file + "\nSize: " + std::to_string(data.size()) +
         "\nSHA256: " + Sha256Hex(data) + "\n\n";
}

// A small repository of empty packages for `names`, as a line of sources.list.
Result<std::string> MakeEmptyRepository(const std::string& directory,
                                        const std::vector<std::string>& names) {
  CARREL_TRY(MakeDirs(directory, 0755));
  std::string index;
  for (const std::string& name : names) {
    CARREL_ASSIGN(std::string entry, MakeEmptyPackage(directory, name));
    index += entry;
  }
  CARREL_TRY(WriteText(directory + "/Packages", index));
  return "deb [trusted=yes] copy:" + directory + " ./";
}

Result<std::vector<std::string>> Sources(const Recipe& recipe, const BuildOptions& options,
                                         const std::string& scratch) {
  CARREL_ASSIGN(std::string host_suite, HostSuite());
  CARREL_ASSIGN(auto sources, ReadDebianSources(options.apt_dir, host_suite, recipe.suite));
  if (!recipe.without.empty()) {
    CARREL_ASSIGN(std::string line, MakeEmptyRepository(scratch + "/empty", recipe.without));
    sources.push_back(line);
  }
  return sources;
}

std::string Include(const Recipe& recipe) {
  std::string list;
  for (const std::string& name : recipe.packages) list += (list.empty() ? "" : ",") + name;
  for (const std::string& name : recipe.without) list += (list.empty() ? "" : ",") + name;
  return list;
}

std::vector<std::string> MmdebstrapOptions(const Recipe& recipe, const std::string& cache,
                                           const std::string& fetch_options) {
  const std::string archives = "\"$1\"/var/cache/apt/archives";
  const std::string kept = ShellQuote(cache);
  // Packages are linked, not copied: work directory and cache are on one file system.
  std::vector<std::string> argv = {
      "mmdebstrap", "--mode=root", "--variant=essential", "--format=directory",
      "--aptopt=" + fetch_options, "--dpkgopt=force-unsafe-io",
      "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/info/*",
      "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
      "--dpkgopt=path-include=/usr/share/doc/*/copyright",
      "--skip=download/empty,essential/unlink,cleanup/reproducible",
      // /bin, /lib and their like are links from the start, as on every Debian since 12.
      ("--setup-hook=cd \"$1\" && for d in bin sbin lib lib64; do mkdir -p usr/$d && "
       "ln -s usr/$d $d; done"),
      "--setup-hook=mkdir -p " + archives + " && find " + kept + " -name '*.deb' -exec cp -l -t " +
          archives + " {} +",
      "--customize-hook=find " + archives + " -maxdepth 1 -name '*.deb' ! -name '*+carrel*'" +
          " -exec cp -l -n -t " + kept + " {} +"};
  if (const std::string include = Include(recipe); !include.empty())
    argv.push_back("--include=" + include);
  return argv;
}

// How the machine reaches the archive, beyond apt's own configuration.
void AddProxies(std::map<std::string, std::string>& environment) {
  for (const char* name : {"http_proxy", "https_proxy", "no_proxy"})
    if (const char* value = ::getenv(name)) environment[name] = value;
}

}  // namespace

Result<void> InstallPackages(const Recipe& recipe, const BuildOptions& options,
                             const std::string& scratch, const std::string& root) {
  CARREL_ASSIGN(auto sources, Sources(recipe, options, scratch));
  const std::string cache = options.work_dir + "/packages";
  CARREL_TRY(MakeDirs(cache, 0755));
  CARREL_ASSIGN(std::string dump, RunChecked({"apt-config", "dump"}));
  const std::string fetch_options = scratch + "/fetch.conf";
  CARREL_TRY(WriteText(fetch_options, FetchOptions(dump)));
  std::vector<std::string> argv = MmdebstrapOptions(recipe, cache, fetch_options);
  argv.push_back(recipe.suite);
  argv.push_back(root);
  argv.insert(argv.end(), sources.begin(), sources.end());
  return RunIsolated(argv, recipe.epoch, scratch);
}

Result<void> RunIsolated(const std::vector<std::string>& command, int64_t epoch,
                         const std::string& tmp) {
  // The first process of the new process namespace dies with unshare, which dies with carrel, and
  // takes apt, dpkg and their scripts with it. Mounts go with the namespace.
  std::vector<std::string> argv = {"unshare",
                                   "--mount",
                                   "--uts",
                                   "--ipc",
                                   "--pid",
                                   "--fork",
                                   "--kill-child",
                                   "--mount-proc",
                                   "sh",
                                   "-c",
                                   "echo carrel-build >/proc/sys/kernel/hostname && exec \"$@\"",
                                   "sh"};
  argv.insert(argv.end(), command.begin(), command.end());
  SubprocessOptions options;
  options.timeout = kTimeout;
  options.environment = {{"SOURCE_DATE_EPOCH", std::to_string(epoch)},
                         {"DEBIAN_FRONTEND", "noninteractive"},
                         {"PYTHONHASHSEED", "0"},
                         {"TZ", "UTC0"},
                         {"HOME", "/nonexistent"},
                         {"TMPDIR", tmp}};
  AddProxies(options.environment);
  auto output = RunChecked(argv, options);
  if (!output) {
    Error error = output.error();
    error.where = command.front();
    return error;
  }
  return {};
}

}  // namespace carrel
