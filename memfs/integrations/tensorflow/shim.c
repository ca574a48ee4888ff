/* What TensorFlow loads as its file system plugin: it hands over the table that Python has made.
 * Built without TensorFlow, needs nothing but libc; see plugin.py. The structure is
 * TF_FilesystemPluginInfo of filesystem_interface.h. */
#include <stddef.h>

struct plugin_info {
    size_t schemes;
    void *operations;
    void *(*allocate)(size_t);
    void (*release)(void *);
};

static struct plugin_info table;

void memfs_set_table(const struct plugin_info *made) { table = *made; }

void TF_InitPlugin(struct plugin_info *wanted) { *wanted = table; }
