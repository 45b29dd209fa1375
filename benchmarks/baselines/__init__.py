"""What others published, from their papers, to be measured beside PrivML: `epom` and `bost`.

Small and readable rather than complete. Every power goes through `crypto.arithmetic`, as the product's
do, so that a comparison compares protocols and not libraries. Nothing of the product imports this
package, and nothing here is fit to protect data: some of these protocols leak. Start with `transcript`,
which says what is counted.
"""
