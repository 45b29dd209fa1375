"""Commands on a disk that has no room for one topic, or for a party's own files."""

# A whole command line in a process whose appends to one topic find a disk with so many pages.
FULL_TOPIC = """
import sys
from pipeline import log_files, log_writer
topic, pages = sys.argv[1], int(sys.argv[2])
class SmallDisk(log_files.TopicFile):
    def append(self, messages):
        if self.facts.topic.endswith("." + topic):
            self._connection.execute(f"PRAGMA max_page_count={pages}")
        return super().append(messages)
log_writer.TopicFile = SmallDisk
from pipeline.commands.main import main
sys.exit(main(sys.argv[3:]))
"""

# A whole command line in a process whose own files take so many changes.
FULL_FILES = """
import contextlib, sqlite3, sys
from pipeline.sqlite_file import SqliteFile
room, original = int(sys.argv[1]), SqliteFile.connection
@contextlib.contextmanager
def connection(self, use):
    global room
    with original(self, use) as opened:
        room -= use == "written"
        if room < 0:
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise full
        yield opened
SqliteFile.connection = connection
from pipeline.commands.main import main
sys.exit(main(sys.argv[2:]))
"""
