#include "job/collect.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>

#include "base/fs.h"
#include "job/collect_copy.h"
#include "job/collect_walk.h"
#include "job/collect_withheld.h"

namespace carrel {
namespace {

// Every error names the file by its path in the job, and no path of the host.
template <typename T>
Result<T> At(const std::string& path, Result<T> result) {
  if (!result) result.error().where = path;
  return result;
}

class Collector {
 public:
  Collector(const CollectRequest& request, Staging high, Staging medium)
      : request_(request),
        high_(std::move(high)),
        medium_(std::move(medium)),
        copier_(request.check) {}

  Result<Collection> Run() {
    CARREL_ASSIGN(ScratchFindings findings, WalkScratch(request_));
    TakeReports(&findings);
    for (const MatchedFile& file : findings.matched) {
      if (request_.check) CARREL_TRY(request_.check());
      CARREL_TRY(Stage(file));
    }
    CARREL_TRY(StageMessages());
    CARREL_TRY(high_.CheckPlaces());
    CARREL_TRY(medium_.CheckPlaces());
    CARREL_TRY(high_.MakeDirectories());
    CARREL_TRY(medium_.MakeDirectories());
    CARREL_TRY(high_.Publish());
    CARREL_TRY(RemoveStale());
    CARREL_TRY(medium_.Publish());
    return std::move(collection_);
  }

 private:
  void TakeReports(ScratchFindings* findings) {
    for (const auto& [pattern, level] : request_.output_spec)
      if (!findings->matched_patterns.contains(pattern))
        collection_.unmatched_patterns.push_back(pattern);
    collection_.unmatched_outputs = std::move(findings->unmatched_outputs);
    collection_.tampered = std::move(findings->tampered);
    collection_.skipped = std::move(findings->skipped);
  }

  // Opens a matched file again, and makes sure that it still is what the walk saw.
  Result<UniqueFd> OpenMatched(const MatchedFile& file) {
    CARREL_ASSIGN(UniqueFd fd, OpenScratch(request_.scratch_dir, file.path, O_RDONLY));
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) return SysFault(file.path, "fstat");
    if (!S_ISREG(info.st_mode) || info.st_ino != file.inode)
      return Fault(file.path, "the file changed while outputs were collected");
    for (const char* name : {"trusted.overlay.metacopy", "user.overlay.metacopy"})
      if (::fgetxattr(fd.get(), name, nullptr, 0) >= 0)
        return Fault(file.path, "the scratch layer has only this file's metadata");
    return fd;
  }

  Result<void> Stage(const MatchedFile& file) {
    CARREL_ASSIGN(UniqueFd source, OpenMatched(file));
    CARREL_ASSIGN(UniqueFd copy, high_.Add(file.path, request_.high));
    CARREL_ASSIGN(CopiedFile copied, At(file.path, copier_.Copy(source.get(), copy.get(),
                                                                request_.limits.max_file_bytes)));
    CARREL_TRY(CountStored(copy.get()));
    CollectedOutput output{file.path, file.level, copied.size, copied.sha256};
    if (file.level == Level::kModeratelySensitive) CARREL_TRY(StageLevel4(copy.get(), &output));
    collection_.outputs.push_back(std::move(output));
    return {};
  }

  // A thousand names of one file take its room once in the scratch layer, and a thousand times
  // here.
  Result<void> CountStored(int copy) {
    struct stat info {};
    if (::fstat(copy, &info) != 0) return SysFault("outputs", "fstat");
    stored_bytes_ += static_cast<uint64_t>(info.st_blocks) * 512;
    if (stored_bytes_ <= request_.limits.max_total_bytes) return {};
    return Refused("outputs",
                   "they take more room than the scratch layer had (" +
                       std::to_string(request_.limits.max_total_bytes) + " bytes)",
                   "Hard links count as whole files: copy nothing twice");
  }

  // From carrel's copy: what is checked is what is published, whatever happens to the action's.
  Result<void> StageLevel4(int copy, CollectedOutput* output) {
    CARREL_ASSIGN(Level4Verdict verdict, CheckLevel4(copy, output->path, request_.level4));
    output->row_count = verdict.row_count;
    output->col_count = verdict.col_count;
    output->withheld = verdict.refusal;
    if (!collection_.tampered.empty())
      output->withheld =
          "The action changed or removed code or inputs in its workspace, so that none of its "
          "outputs can be released; the action's log names the files";
    if (output->withheld) return {};
    CARREL_ASSIGN(UniqueFd medium, medium_.Add(output->path, request_.medium));
    CARREL_ASSIGN(CopiedFile again,
                  At(output->path, copier_.Copy(copy, medium.get(), output->size)));
    if (again.sha256 != output->sha256)
      return Fault(output->path, "the level 4 copy differs from the level 3 copy");
    return {};
  }

  // Whether level 4 gets an output at `path`, or one beneath it.
  bool IsTaken(const std::string& path) const {
    return IsReleased(path, path) || IsReleased(path + "/", path + "0");  // '0' comes after '/'
  }

  // Whether level 4 gets an output from `first` on and before `end`, or at `first` itself.
  bool IsReleased(const std::string& first, const std::string& end) const {
    auto output = std::lower_bound(
        collection_.outputs.begin(), collection_.outputs.end(), first,
        [](const CollectedOutput& o, const std::string& path) { return o.path < path; });
    for (; output != collection_.outputs.end() && (output->path < end || output->path == first);
         ++output)
      if (output->level == Level::kModeratelySensitive && !output->withheld) return true;
    return false;
  }

  // An output keeps its place; the reason why another was withheld is in the log as well.
  Result<void> StageMessages() {
    for (const CollectedOutput& output : collection_.outputs)
      if (output.withheld && !IsTaken(output.path + ".txt"))
        CARREL_TRY(StageWithheldMessage(request_.medium_workspace, output.path, *output.withheld,
                                        request_.medium, &medium_));
    return {};
  }

  // Before the new files appear: at no time does an old result stand under a new verdict.
  Result<void> RemoveStale() {
    for (const CollectedOutput& output : collection_.outputs) {
      const bool released = output.level == Level::kModeratelySensitive && !output.withheld;
      if (!released) CARREL_TRY(RemoveEarlierCopy(request_.medium_workspace, output.path));
      if (!output.withheld)
        CARREL_TRY(RemoveWithheldMessage(request_.medium_workspace, output.path));
    }
    return {};
  }

  const CollectRequest& request_;
  Staging high_, medium_;
  Copier copier_;
  Collection collection_;
  uint64_t stored_bytes_ = 0;
};

}  // namespace

Result<Collection> CollectOutputs(const CollectRequest& request) {
  CARREL_ASSIGN(Staging high, Staging::Create(request.high_workspace, request.job_id));
  CARREL_ASSIGN(Staging medium, Staging::Create(request.medium_workspace, request.job_id));
  return Collector(request, std::move(high), std::move(medium)).Run();
}

}  // namespace carrel
