// A user namespace that says, for an id-mapped mount, who a file on disk belongs to inside.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

/// A namespace that maps `disk_uid` and `disk_gid`, as they are on disk, to `host_uid` and
/// `host_gid`, as processes have them, and nobody else. For mount_setattr(MOUNT_ATTR_IDMAP).
Result<UniqueFd> MakeIdMap(uid_t disk_uid, gid_t disk_gid, uid_t host_uid, gid_t host_gid);

/// Makes the detached `mount` show files through the map. kFault with EINVAL where the file system
/// cannot.
Result<void> ApplyIdMap(int mount, int id_map);

}  // namespace carrel
