# Write a page about each planet, and a front page, into a directory.
#
#   write-report.sh DIRECTORY SHARED-WORDS [NAME SIZE RANKING]...
set -eu
directory=$1
shared=$2
shift 2
front=$directory/README.txt

{
    echo "What the texts say"
    echo
} > "$front"
while [ $# -ge 3 ]; do
    name=$1
    page=$directory/$name.txt
    {
        cat "$2"
        echo
        echo "The words it uses most:"
        while read -r word count; do
            echo "  $word ($count)"
        done < "$3"
    } > "$page"
    echo "  $(cat "$2")" >> "$front"
    echo "wrote the page about $name"
    shift 3
done
{
    echo
    echo "Words that all of them use:"
    echo "  $(tr '\n' ' ' < "$shared")"
} >> "$front"
echo "wrote the front page"
