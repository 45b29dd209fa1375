"""Commands on a disk that has no room for one topic."""

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
