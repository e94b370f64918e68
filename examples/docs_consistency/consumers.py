"""What follows from the events: two groups, as values. app.py runs them with `run(store, CONSUMERS, ...)`; the command
line runs what a module defines, in as many processes as you like, which share the partitions:

    DOCS=../mydocs eventstore work --app examples.docs_consistency.consumers

A group goes on where its members stopped. Each event is handled at least once, those of one stream in order of version;
nothing is said of the order of two streams. So a handler does what may be done again, for one document at a time.

Broken links are not found here: whether a link leads somewhere depends on files in other streams. A page and the page
that it leads to, added by one commit, come in any order, and a finding would be made and taken back by chance. Links
are judged in the report (checks/links.py), when both groups are at the end of the log: the rows are a commit's tree.
"""

from consumers import Context, Exponential, Park, Resource, consumer
from examples.docs_consistency.checkout import Checkout, opened_checkout
from examples.docs_consistency.checks import Outlines, is_markdown, opened_outlines, outline_of
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.errors import ReadModelDamaged
from examples.docs_consistency.events import CATEGORY, DocumentAdded, DocumentChanged, DocumentRemoved
from examples.docs_consistency.home import opened_documents
from examples.docs_consistency.source import FileState


@consumer("documents", categories=[CATEGORY], on={ReadModelDamaged: Park()})
async def documents(event: DocumentAdded | DocumentChanged | DocumentRemoved, ctx: Context, rows: Documents) -> None:
    """Keeps the row of each document. An event that comes again is known by its version. One that does not follow its
    row is nothing that trying again mends: it waits for somebody to look at it, and so does its stream."""
    rows.apply([ctx.event])


@consumer("outlines", categories=[CATEGORY], retry=Exponential(first="200ms", attempts=4))
async def outlines(event: DocumentAdded | DocumentChanged, checkout: Checkout, kept: Outlines) -> None:
    """Parses each Markdown content once and keeps its outline. Contents that the checkout no longer has are passed
    over: nobody will ask for them."""
    if not is_markdown(event.path, FileState(event.blob, event.mode)) or kept.kept(event.blob) is not None:
        return
    content = await checkout.content(event)
    if content is not None:
        kept.keep(event.blob, outline_of(content))


CONSUMERS = (documents, outlines)

# What handlers ask for by type, where `eventstore work` runs them; app.py gives them what it has open.
the_documents = Resource(Documents, opened_documents)
the_checkout = Resource(Checkout, opened_checkout)
the_outlines = Resource(Outlines, opened_outlines)
